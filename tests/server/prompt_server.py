"""The real server and the real completion, with an engine that only writes down what it is asked."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pass_lsp.context import neighbours
from pass_lsp.domain import Generation
from pass_lsp.server.app import create_server, serve
from tests.test_prompt import BARS, byte_level


class Recorder:
    """Answers nothing, and keeps every prompt as a line of JSON."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = byte_level(("<|endoftext|>", *BARS, "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>"))
        self._path = path

    def generate(self, prompt_ids: Sequence[int], *_: Any, **__: Any) -> Generation:
        with self._path.open("a") as file:
            file.write(json.dumps(self.tokenizer.decode(prompt_ids)) + "\n")
        return Generation([], "eos")


if __name__ == "__main__":
    neighbours.LIMIT_MS = math.inf  # other files are found on a busy machine as well
    path = Path(os.environ["PROMPTS"])
    raise SystemExit(serve(create_server(lambda settings, progress: Recorder(path))))

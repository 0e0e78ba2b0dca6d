"""Stands for `pass-lsp engine --uds PATH`: loads for a moment, serves a fake, writes down that it lived.

python -m tests.engines.engine_process SOCKET LIVES [crash]
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.engines import fakes
from tests.engines.fakes import Fake, told

LOAD_S = 0.3


def main(path: str, lives: str, how: str = "") -> None:
    with open(lives, "a") as file:
        file.write(f"{os.getpid()}\n")
    if how == "crash":
        sys.exit("pass-lsp: The model is broken; choose another.")
    health = [503]
    routes = {**fakes.vllm(), "/health": lambda exchange: exchange.json({}, health[0])}
    time.sleep(LOAD_S / 2)
    Fake(routes, uds=Path(path))
    time.sleep(LOAD_S / 2)
    health[0] = 200
    routes["/v1/engine"] = told({}, 404)
    time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])

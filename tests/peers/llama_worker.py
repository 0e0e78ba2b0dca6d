"""llama.cpp as a process: a line of JSON with prompt ids in, a line with its greedy ids and times out.

Runs in the peers' own environment, on the C interface alone, so that no Python stands between two
tokens but one call to decode and one to choose.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import llama_cpp

F32 = 0


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, data: object) -> None:
    """Its log is of no interest here."""


class Llama:
    """One model and one context."""

    def __init__(self, path: str, threads: int, context_length: int, exact: bool) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), llama_cpp.llama_model_default_params())
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch = context_length, context_length
        params.n_threads = params.n_threads_batch = threads
        if exact:  # the cache is otherwise rounded to float16
            params.type_k = params.type_v = F32
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        self._sampler = llama_cpp.llama_sampler_init_greedy()

    def greedy(self, ids: list[int], most: int, ends: list[int]) -> dict[str, object]:
        """Up to `most` tokens after `ids`, with the one of `ends` that ended it; seconds to the first, and after it."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        began = time.perf_counter()
        tokens = [self._next(ids)]
        first = time.perf_counter()
        while tokens[-1] not in ends and len(tokens) < most:
            tokens.append(self._next(tokens[-1:]))
        return {"tokens": tokens, "first": first - began, "rest": time.perf_counter() - first}

    def _next(self, ids: list[int]) -> int:
        held = (llama_cpp.llama_token * len(ids))(*ids)
        if llama_cpp.llama_decode(self._context, llama_cpp.llama_batch_get_one(held, len(ids))):
            raise RuntimeError("llama.cpp could not decode")
        return llama_cpp.llama_sampler_sample(self._sampler, self._context, -1)


def main() -> None:
    """Serve until stdin ends."""
    path, threads, context_length, exact = sys.argv[1:]
    llama = Llama(path, int(threads), int(context_length), exact == "exact")
    for line in sys.stdin:
        asked = json.loads(line)
        sys.stdout.write(json.dumps(llama.greedy(asked["ids"], asked["most"], asked["ends"])) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The product's flow as the server calls it, so that tests can put a scripted one in its place."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pass_lsp.domain import CancelToken, Engine
from pass_lsp.errors import is_out_of_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Flow:
    """`complete_document`, `prefill_document`, `alternatives_at`, `prepare_workspace` and `self_test` of `completion`,
    or something like them.
    """

    complete: Callable[..., Any]
    prefill: Callable[..., Any]
    alternatives: Callable[..., Any]
    prepare: Callable[..., None] = lambda *_: None
    test: Callable[[Engine], str] = lambda _: ""

    @classmethod
    def of_the_product(cls) -> Flow:
        """The real one. Imported on the engine thread and no earlier: it brings tree-sitter and more,
        and the server answers `initialize` before all that is read from the disk.
        """
        from pass_lsp import completion as product

        return cls(
            product.complete_document,
            product.prefill_document,
            product.alternatives_at,
            product.prepare_workspace,
            product.self_test,
        )


def with_a_second_try(run: Callable[[Engine, CancelToken], Any]) -> Callable[[Engine, CancelToken], Any]:
    """`run`, tried once more with empty caches if the memory does not suffice."""

    def guarded(engine: Engine, token: CancelToken) -> Any:
        try:
            return run(engine, token)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Here the failure is gone, and with it the frames that held on to what filled the memory.
        log.warning("The memory is full; the caches are dropped and the request is tried once more.")
        forget = getattr(engine, "forget", None)
        if callable(forget):
            forget()
        gc.collect()
        return run(engine, token)

    return guarded

"""One command at a time in a folder of a training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pass_lsp.errors import TrainError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other command out of `folder`, until this one ends or is killed. Raises `TrainError`.

    Also `OSError` where nothing can be written there: an hour later it would be worth less.
    """
    from filelock import FileLock, Timeout  # torch brings it, where nothing else is

    folder.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(folder / ".lock").acquire(timeout=0)
    except Timeout as error:
        raise TrainError(f"Another command writes {folder}; wait for its end, or give another folder.") from error
    with held:
        yield

"""The JSON objects in the bytes of a stream, cut anywhere: server-sent events, or one object a line.

Events are read as the HTML standard says (9.2.6, "Interpreting an event stream"), except that one whose first
line is a whole object does not wait for the empty line behind it: many servers leave that out at the end, some always.
Which of the two it is shows in each line: servers are not to be trusted with the type of their content.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

DONE: dict[str, Any] = {}
"""What `data: [DONE]` becomes; known by identity."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Objects:
    """What came so far and is not yet an object."""

    def __init__(self) -> None:
        self._first = True
        self._bytes = bytearray()
        self._data: list[bytes] = []

    @property
    def held(self) -> int:
        """Bytes of the line that has not ended."""
        return len(self._bytes)

    def read(self, chunk: bytes) -> Iterator[dict[str, Any]]:
        """The objects that are whole with `chunk`."""
        self._bytes += chunk
        if b"\n" not in chunk and b"\r" not in chunk:
            return
        # A carriage return may be the first half of a line's end.
        half = self._bytes[-1:] if self._bytes.endswith(b"\r") else b""
        *lines, rest = _LINE_END.split(self._bytes.removesuffix(half))
        self._bytes = bytearray(rest) + half
        for line in lines:
            yield from self._in(bytes(line))

    def rest(self) -> Iterator[dict[str, Any]]:
        """Those that the end of the stream completes."""
        yield from self.read(b"\n\n")

    def _in(self, line: bytes) -> Iterator[dict[str, Any]]:
        if self._first:
            self._first, line = False, line.removeprefix(_BYTE_ORDER_MARK)
        if line.lstrip().startswith(b"{"):
            found = _object(line)
        elif not line:
            found, self._data = _object(b"\n".join(self._data)), []
        else:
            found = self._of_field(*line.split(b":", 1))
        if found is not None:
            yield found

    def _of_field(self, name: bytes, value: bytes = b"") -> dict[str, Any] | None:
        if name == b"error":  # llama.cpp's way, up to 2025
            return {"error": _object(value)}
        if name != b"data":
            return None
        if value.strip() == b"[DONE]":
            return DONE
        if not self._data and (found := _object(value)) is not None:
            return found
        self._data.append(value.removeprefix(b" "))
        return None


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

"""LSP base protocol: bytes in, message bodies out, and back. Knows nothing of JSON.

Follows the "Base Protocol" part of LSP 3.18. Header names are read in any case, and
junk before a header costs the junk only: the stream finds its way back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"content-length[ \t]*:[ \t]*(\d{1,10})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_LONGEST_HEADER = 64 * 1024


def frame(body: bytes) -> bytes:
    """`body` with its header."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Frames:
    """Cuts a byte stream into message bodies."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._length: int | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take in `data` and yield each body that is complete; b"" stands for a header without a length."""
        self._buffer += data
        while (body := self._next()) is not None:
            yield body

    def _next(self) -> bytes | None:
        if self._length is None and not self._read_header():
            return None
        length = self._length or 0
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        self._length = None
        return body

    def _read_header(self) -> bool:
        end = _HEADER_END.search(self._buffer)
        if end is None:
            del self._buffer[:-_LONGEST_HEADER]  # endless junk must not fill the memory
            return False
        lengths = _LENGTH.findall(self._buffer, 0, end.start())
        del self._buffer[: end.end()]
        self._length = int(lengths[-1]) if lengths else 0
        return True

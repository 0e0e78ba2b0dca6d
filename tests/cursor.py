"""Test sources with a `<CURSOR>` in them."""

from __future__ import annotations

from pass_lsp.documents.document import Document

CURSOR = "<CURSOR>"


def parse(source: str, path: str = "/work/project/example.py", language: str = "") -> tuple[Document, int]:
    """The document without the mark, and the offset of the mark (the first, if there are several)."""
    before, mark, after = source.partition(CURSOR)
    assert mark, "the source has no <CURSOR>"
    return Document("file://" + path, before + after, 1, language, path), len(before)

"""`Workspace`: what else is open beside one document, immutable. Knows nothing of LSP types, nor of the disk."""

from __future__ import annotations

from dataclasses import dataclass

from pass_lsp.documents.document import Document

MAX_REGIONS = 8
NEAR_LINES = 8
"""Edits as near as this are one region."""


@dataclass(frozen=True, slots=True)
class Region:
    """Lines `[first, last]` of a document that were edited not long ago."""

    uri: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Workspace:
    """Other documents, most recently used first; regions edited, newest first; folders that are open."""

    documents: tuple[Document, ...] = ()
    edits: tuple[Region, ...] = ()
    roots: tuple[str, ...] = ()


def with_edit(edits: tuple[Region, ...], edit: Region, inserted: int = 0) -> tuple[Region, ...]:
    """`edits` and a new one in front, joined with those it is near to; `inserted` lines moved what lies below."""
    kept: list[Region] = []
    for old in edits:
        if old.uri == edit.uri and old.first > edit.first:
            old = Region(old.uri, max(old.first + inserted, 0), max(old.last + inserted, 0))
        if old.uri == edit.uri and old.first - NEAR_LINES <= edit.last and edit.first <= old.last + NEAR_LINES:
            edit = Region(edit.uri, min(old.first, edit.first), max(old.last, edit.last))
        else:
            kept.append(old)
    return (edit, *kept)[:MAX_REGIONS]

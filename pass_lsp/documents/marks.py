"""Marks that several languages share: what opens a string or a comment, what opens nothing, how lines end."""

from __future__ import annotations

from collections.abc import Iterable

QUOTES = (('"', '"'), ("'", "'"))
DOUBLE = (('"', '"'),)
SLASHES = (("/*", "*/"),)
NO_MARK = r"[^\s;{},]$"
"""How a line ends that no mark has finished."""
CASE = r"|^\s*(?:case\b.*|(?:default|public|private|protected)\s*):$"
"""Behind other ways: a label of C's kind begins a block, too."""


def inert(form: str, marks: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Marks that open nothing where they stand as `form` says: strings that are closed as soon as they are open."""
    return tuple((form.format(mark), "") for mark in marks)


ESCAPED = inert("\\{}", "()[]{}\"'`/#\\")
"""What a backslash outside strings makes plain, in patterns between slashes and in shells."""
REGEXES = ESCAPED + inert("/{}/", "\"'`")
WHOLE_REGEX = (  # a pattern, where a value may begin; elsewhere a slash divides
    r"(?:(?<![^(,=:\[!&|?{;~\n])|(?<==>)|(?<=\breturn)|(?<=\bcase)|(?<=\bwhen)|(?<=\bif)|(?<=\bunless)|(?<=\band))"
    r"[ \t]*+/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n]){0,300}+\]|[^/\\\[\n]){1,300}+/"
)
CHARACTERS = inert("'{}'", '()[]{}"')
"""Where an apostrophe alone is no quote."""

"""What several languages share: marks that open a string or a comment, or nothing, how lines end; whole lexes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pass_lsp.documents.scan import Lexis

QUOTES = (('"', '"'), ("'", "'"))
DOUBLE = (('"', '"'),)
SLASHES = (("/*", "*/"),)
NO_MARK = r"[^\s;{},]$"
"""How a line ends that no mark has finished."""
CASE = r"|^\s*(?:case\b.*|(?:default|public|private|protected)\s*):$"
"""Behind other ways: a label of C's kind begins a block, too."""

DIRECTIVE = r"#\s*(?:if|ifdef|ifndef|else|elif|elseif|endif|define|undef|pragma|include|error|region|endregion)\b"
"""A line for the preprocessor."""
LABEL = r"(?!default\b)[A-Za-z_]\w*:$"
"""Where `goto` goes, `private:`."""


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

C_LIKE = Lexis(("//",), (*QUOTES, *inert("{}'", "0123456789")), SLASHES, goes_on=NO_MARK, opens=r"\{$" + CASE,  # 10'000
                outdented=f"{DIRECTIVE}|{LABEL}")  # fmt: skip
TRIPLE = replace(C_LIKE, strings=(('"""', '"""'), *C_LIKE.strings), long=frozenset(('"""',)))
HASH = Lexis(("#",), QUOTES, long=frozenset("\"'"))
ENDED = Lexis(("#",), QUOTES, apart=True, opens=r"[{(\[]$|\bdo$", closes="end")
POWERSHELL = Lexis(  # a backslash parts a path
    ("#",), (('@"', '"@'), ("@'", "'@"), *QUOTES), (("<#", "#>"),), frozenset(('@"', "@'")),
    frozenset(('@"', "@'", '"', "'")), apart=True, goes_on=r"[`|]$", defines="function|filter|class",
)  # fmt: skip
PROSE = Lexis(brackets=False, opens=r"^\s*(?:```|~~~)\S*$")
JS = Lexis(
    ("//",), (*QUOTES, ("`", "`"), *REGEXES), SLASHES, frozenset("`"), inert=WHOLE_REGEX,
    goes_on=NO_MARK, opens=r"\{$|=>$|^\s*<(?:[A-Za-z][^<>]*)?(?<![/=])>$" + CASE, closes=r"</[\w.:-]*|/?>",
    defines=r"(?:export\s+)?(?:default\s+)?(?:async\s+)?(?:abstract\s+)?(?:function|class|interface|enum|namespace)",
)  # fmt: skip
XML = Lexis(blocks=(("<!--", "-->"),), brackets=False, opens=r"<[A-Za-z][^<>]*(?<!/)>$",
          closes=r"</[\w:.-]*|/?>", goes_on=r"<[A-Za-z][^<>]*$")  # fmt: skip
SQL = Lexis(
    ("--",), QUOTES, SLASHES, opens=r"(?i)\b(?:as|begin|select|from|where|values|set|then|else|loop|declare)$",
    goes_on=r"[^\s;]$", parts=r"(?i:from|where|set|values|using|on|and|or|(?:\w++\s++){0,2}join|(?:group|order)\s+by"
    r"|having|limit|returning)",
)  # fmt: skip

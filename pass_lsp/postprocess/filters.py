"""The filters: each a function from text to text, cheapest first, with the reason to give if nothing is left.

A text that is complete to its last line ends with a line end here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher

from pass_lsp.documents.scan import indentation, scan
from pass_lsp.postprocess.closers import balanced, closed_before_closers, closed_once, closing_apart, to_element_end
from pass_lsp.postprocess.frame import COMMON_LINE, ROW, Frame, heredocs, missing_block, repeats
from pass_lsp.postprocess.midline import within_place
from pass_lsp.postprocess.overlap import overlap
from pass_lsp.postprocess.stop import answer_end
from pass_lsp.reasons import Reason

_TELLING = 12
"""Characters from which on a line tells something by being nearly the same."""
_ALIKE = 0.95
_TO_ITSELF = re.compile(r"""([\w.\[\]'"]+) *= *\1;?""")
_ASSIGNED = re.compile(r"""[\w.\[\]'"]+ *=[^()]+""")
"""An assignment that calls nothing."""
_DATA = re.compile(r"[^A-Za-z_]*")
"""A row of numbers, which may stand again."""
_RULE = re.compile(r"(?!if|else\b|define\b)[^\s#:=][^:=]*+::?+(?!=)")
"""What begins a recipe in a makefile."""
_MOST_CUTS = 12
"""Lines that may be given up, one after the other, until the rest parses."""


def without_next_lines(text: str, frame: Frame) -> str:
    """Cut before the line that the document has next (complaint 5: it repeats what is already there)."""
    at, lines = 0, text.split("\n")
    for number, (line, (word, behind, state, _)) in enumerate(zip(lines, heredocs(lines, frame), strict=True)):
        if not (word and behind) and repeats(frame.said(number, line), frame, state, lines[number + 1 :]):
            return text[:at]
        at += len(line) + 1
    return text


def without_line_start(text: str, frame: Frame) -> str:
    """Take off a repetition of what stands left of the cursor: `import ` completed by `import sys`."""
    said = frame.context.line_prefix.strip()
    if len(said) < 4 or not (said[-1].isalnum() or said.endswith(" =")):
        return text  # behind a bracket or an operator the same words may come again
    again = text.lstrip(" \t")
    if not again.startswith(said) or again[len(said) : len(said) + 1].isalnum():
        return text
    rest = again[len(said) :]
    return rest.lstrip(" ") if frame.context.line_prefix.endswith(" ") else rest


def indented_once(text: str, frame: Frame) -> str:
    """Take off indentation that the cursor's blank line has already (complaint 7), or that nothing here has."""
    context = frame.context
    lines, deepest = text.split("\n"), context.indent
    if context.line_prefix.strip() or not lines[0].strip() or not indentation(lines[0]):
        return text
    if not frame.width(context.line_prefix):
        # In column 0 the answer says itself how deep it goes, as far as the block above; in brackets even beyond:
        # the line above may be one of the preprocessor.
        if not frame.state.plain:
            return text
        deepest = max(deepest, *map(frame.width, frame.above[-1:] or ("",)))
    extra = frame.width(context.line_prefix + lines[0]) - deepest
    if extra <= 0:
        return text
    lead = indentation(lines[0])
    lines[0] = lines[0][min(extra, len(lead)) if "\t" not in lead else len(lead) :]
    widths = [frame.width(line) for line in lines[1:] if line.strip()]
    # What the first line opens is deeper than it, unless that line alone says its indentation again.
    opens = frame.lexis.opens_block(lines[0]) or lines[0].rstrip().endswith(("(", "[", "{"))
    shifted = all(width >= deepest + extra for width in widths) and not (opens and widths[:1] == [deepest + extra])
    if shifted and "\t" not in "".join(map(indentation, lines[1:])):
        lines[1:] = [line[extra:] if line.strip() else "" for line in lines[1:]]
    return "\n".join(lines)


def to_block_end(text: str, frame: Frame) -> str:
    """Cut to the character where the answer ends (complaint 8: too long)."""
    cut = answer_end(text, frame)
    if cut is None and not frame.many and "\n" in text:  # nothing came that would tell whether the line goes on
        cut = text.index("\n")
    return text if cut is None else text[:cut].rstrip("\n") + "\n"


def complete_lines(text: str, frame: Frame) -> str:
    """Without a last line that was cut off by the length limit, unless it is the only one."""
    if not frame.many:
        return text
    complete = text[: text.rfind("\n") + 1]
    return complete if complete.strip() else text


def without_repetition(text: str, frame: Frame) -> str:
    """Nothing, when the answer begins with the lines that stand right above it, or says one line all over."""
    lines = [frame.said(number, line).rstrip() for number, line in enumerate(text.split("\n"))]
    above = [*map(str.rstrip, frame.above), "" if lines[0] else frame.context.line_prefix.rstrip()]
    lines, above = list(filter(None, lines)), list(filter(None, above))
    patterns = (COMMON_LINE, _DATA) if frame.state.brackets and not frame.state.string else (COMMON_LINE,)
    for count in range(1, min(len(lines), len(above)) + 1):
        common = all(any(pattern.fullmatch(line) for pattern in patterns) for line in lines[:count])
        if lines[:count] == above[-count:] and not common:
            return ""
    line, times = Counter(map(str.strip, lines)).most_common(1)[0] if lines else ("", 0)
    again = times >= 4 and times * 2 > len(lines) and not (COMMON_LINE.fullmatch(line) or ROW.fullmatch(line))
    return "" if again else text


def without_idle_lines(text: str, frame: Frame) -> str:
    """Cut before a line that changes nothing: one that assigns a name to itself, or the same as the line above it."""
    at, state, above = 0, frame.state, ""
    for number, line in enumerate(text.split("\n")):
        code = frame.whole(number, line).strip()
        if state.plain and (_TO_ITSELF.fullmatch(code) or (code == above and _ASSIGNED.fullmatch(code))):
            return text[:at]
        state, above, at = scan(line + "\n", frame.lexis, state), code, at + len(line) + 1
    return text


def parsing_lines(text: str, frame: Frame) -> str:
    """The most lines among those that leave the fewest errors of syntax; a header without a block is one."""
    if not frame.many or frame.errors is None:
        return text
    lines = text.rstrip().split("\n")
    cuts = ["\n".join(lines[:count]) for count in range(len(lines), max(len(lines) - _MOST_CUTS, 0), -1)]
    best, fewest, closed, whole = text, -1, len(scan(text, frame.lexis, frame.state).brackets), None
    most = max(closed, len(frame.state.brackets))
    for part in filter(str.strip, cuts):
        left_open = len(scan(part, frame.lexis, frame.state).brackets)
        if left_open > most:
            continue
        if left_open > closed:
            # A grammar that knows the language badly (C++ in a `.h`) must not open what the answer closes. One that
            # finds the document whole knows that this was closed already.
            whole = not frame.errors(None, 0) if whole is None else whole
            if not whole:
                continue
        errors = frame.errors(part, overlap(part, frame)) + bool(missing_block(part, frame))
        if fewest < 0 or errors < fewest:
            best, fewest = part, errors
        if not errors:
            break
    return text.rstrip("\n") if best == text.rstrip() else best


def without_comma(text: str, frame: Frame) -> str:
    """Without a comma behind what is the last item here, where the language allows none, as JSON."""
    kept = text.rstrip()
    if not kept.endswith(",") or frame.errors is None or not frame.errors(kept, overlap(kept, frame)):
        return text
    bare = kept[:-1]
    return text if frame.errors(bare, overlap(bare, frame)) else bare


def without_fence(text: str, frame: Frame) -> str:
    """Cut before a fence of Markdown that has no place in code: the model explains itself."""
    if frame.context.language == "markdown" or not (frame.lexis.brackets or frame.lexis.blocks):
        return text
    for found in re.finditer(r"^[^\S\n]*```", text, re.MULTILINE):
        if not scan(text[: found.start()], frame.lexis, frame.state).string:
            kept = text[: found.start()].rstrip()
            return kept + "\n" if kept else ""
    return text


def without_similar_lines(text: str, frame: Frame) -> str:
    """Cut before two lines that say nearly what the document's next two lines say."""
    below = [line.strip() for line in frame.below[:2]]
    lines = text.split("\n")
    if len(below) < 2 or min(map(len, below)) < _TELLING:
        return text
    for number in range(len(lines) - 1):
        pair = [frame.said(number, lines[number]).strip(), lines[number + 1].strip()]
        if all(_alike(mine, theirs) for mine, theirs in zip(pair, below, strict=True)):
            return "\n".join(lines[:number]) + ("\n" if number else "")
    return text


def _alike(left: str, right: str) -> bool:
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    return matcher.real_quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE


def indented_as_here(text: str, frame: Frame) -> str:
    """Tabs for spaces, or spaces for tabs, as the document has them."""
    lines = text.split("\n")
    own = 1 if frame.context.line_prefix else 0  # the first line's indentation stands in the document
    if frame.tabs is None or not any(_indented_otherwise(line, frame.tabs) for line in lines[own:]):
        return text
    unit, verbatim = _unit(lines, own, frame) if frame.tabs else frame.context.tab_size, _verbatim(lines, frame)
    for number, line in enumerate(lines[own:], own):
        if verbatim[number] or not _indented_otherwise(line, frame.tabs) or not _may_have_tabs(number, lines, frame):
            continue
        lead, code = indentation(line), line.lstrip(" \t")
        if frame.tabs:
            tabs, spaces = divmod(len(lead.expandtabs(unit)), unit)
            lines[number] = "\t" * tabs + " " * spaces + code if code else ""
        else:
            lines[number] = lead.expandtabs(unit) + code if code else ""
    return "\n".join(lines)


def _verbatim(lines: list[str], frame: Frame) -> list[bool]:
    """Which lines begin inside a string, or a text that a word ends: their white space is what they say."""
    within = frame.context.heredoc
    return [bool(word or within) or state.string in frame.lexis.long for word, _, state, _ in heredocs(lines, frame)]


def _indented_otherwise(line: str, tabs: bool) -> bool:
    """Whether a line of code is not indented as the document is; behind tabs, spaces align what follows them."""
    return bool(line.strip()) and (line.startswith(" ") if tabs else "\t" in indentation(line))


def _may_have_tabs(number: int, lines: list[str], frame: Frame) -> bool:
    """Whether a tab says no more than spaces do: in a makefile it makes a line one of a recipe, which a rule begins."""
    if frame.context.language != "makefile":
        return True
    above = [*frame.above, *(frame.whole(*line) for line in enumerate(lines[:number]))]
    outer = next((line for line in reversed(above) if line.strip() and line[0] not in " \t"), "")
    return _RULE.match(outer) is not None


def _unit(lines: list[str], own: int, frame: Frame) -> int:
    """How many columns the answer has for a level, which is a tab here: it may go one level deeper than the cursor's
    block, and below a header it does.
    """
    size = frame.context.tab_size
    widths = [frame.width(line) for line in lines[own:] if line.strip()]
    header = own and frame.lexis.opens_block(frame.whole(0, lines[0]))
    deepest = (frame.width(frame.context.line_prefix) if header else frame.context.indent) // size + 1
    for unit in (size, 8, 2):
        level = widths[0] / unit
        if (level == deepest if header else level <= deepest) and not any(width % unit for width in widths):
            return unit
    return size


def trimmed(text: str, frame: Frame) -> str:
    """Without white space at its end, except for one space that belongs before a closer: `{ a }`, `"Name: "`; a word
    behind it has one.
    """
    kept, closer = text.rstrip(), frame.context.line_suffix[:1]
    if frame.context.mid_line and closer.isalpha():
        return kept + " "
    if text[len(kept) :].rstrip("\n") != " " or "\n" in kept or not closer or overlap(kept, frame):
        return kept
    spaced = text.startswith(" ") or frame.context.line_prefix.endswith(" ")
    return kept + " " if closer in "\"'`" or (closer in ")]}" and spaced) else kept


FILTERS: tuple[tuple[Callable[[str, Frame], str], Reason], ...] = (
    (without_fence, Reason.EMPTY),
    (without_next_lines, Reason.REPEATS_SUFFIX),
    (without_similar_lines, Reason.REPEATS_SUFFIX),
    (without_line_start, Reason.EMPTY),
    (indented_once, Reason.EMPTY),
    (to_block_end, Reason.EMPTY),
    (to_element_end, Reason.EMPTY),
    (complete_lines, Reason.EMPTY),
    (balanced, Reason.EMPTY),
    (closed_once, Reason.EMPTY),
    (without_repetition, Reason.REPETITIVE),
    (without_idle_lines, Reason.REPETITIVE),
    (indented_as_here, Reason.EMPTY),
    (parsing_lines, Reason.EMPTY),
    (without_comma, Reason.EMPTY),
    (within_place, Reason.EMPTY),
    (closed_before_closers, Reason.EMPTY),
    (trimmed, Reason.EMPTY),
    (closing_apart, Reason.EMPTY),
)

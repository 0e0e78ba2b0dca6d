"""The patterns of ignore files as git reads them.

They come with whatever repository is opened, and none may keep the process: each segment of a pattern is compared with
each name of a path once, by an expression that never goes back, so the time is that of pattern times path.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_WILDEST = 1 << 16
"""Characters in lines with wildcards, which take half a second at worst. Of more nobody waits to know what they say."""
_WILD = re.compile(r"[\\*?\[]")
_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "digit": "0-9",
    "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~", "space": r" \t-\r", "upper": "A-Z",
    "xdigit": "0-9a-fA-F",
}  # fmt: skip
_CLASS = rf"\[:(?:{'|'.join(_CLASSES)}):\]"
_TOKEN = re.compile(
    r"\\(?P<escaped>.)|(?P<plain>[^\\*?\[/]+)|(?P<stars>\*+)|(?P<one>\?)|(?P<slash>/)"
    # A bracket right behind the opening one is a member.
    rf"|\[(?P<other>[!^]?+)(?P<members>(?:\\.|{_CLASS}|[^\\])(?:\\.|{_CLASS}|[^\]\\])*+)\]|(?P<wrong>.)",
    re.DOTALL,
)
_MEMBER = re.compile(rf"(?P<class>{_CLASS})|\\?(?P<low>.)(?:-\\?(?P<high>.))?", re.DOTALL)
_ANY = re.compile(".*", re.DOTALL)

Part = str | re.Pattern[str] | None
"""What one name of a path is or matches; None for `**`: any number of names."""


class Rule(NamedTuple):
    """A line of an ignore file: what it matches, whether it excludes that, and whether that must be a folder."""

    parts: tuple[Part, ...]
    excludes: bool
    folders: bool

    def ends(self, names: Sequence[str], masks: dict[Part, int]) -> int:
        """Which of the paths that `names` begin with it matches: bit n stands for the first n.

        `masks` tells which names a part matches, and is filled as parts are asked for.
        """
        every, ends = (2 << len(names)) - 1, 1
        for part in self.parts:
            if part is None:
                ends |= -ends & every
                continue
            if part not in masks:
                masks[part] = 0 if isinstance(part, str) else _mask(part, names)
            ends = (ends & masks[part]) << 1
            if not ends:
                break
        return ends & ~(1 << len(names)) if self.folders else ends


EVERYTHING = Rule((None, _ANY), True, False)


def rules_of(text: str) -> tuple[Rule, ...]:
    """What an ignore file says, the last line first, as that decides. What is no pattern is left out, as git does."""
    lines = dict.fromkeys(line.removesuffix("\r") for line in reversed(text.split("\n")))
    said = [line for line in map(_trimmed, lines) if line and not line.startswith("#")]
    if sum(len(line) for line in said if _WILD.search(line)) > _WILDEST:
        return (EVERYTHING,)
    return tuple(filter(None, map(_rule, said)))


def decided(rules: Sequence[Rule], names: Sequence[str]) -> tuple[int, int]:
    """Which of the paths that `names` begin with are excluded and which brought back, as `Rule.ends` tells them."""
    masks: dict[Part, int] = {}
    for place, name in enumerate(names):
        masks[name] = masks.get(name, 0) | 1 << place
    excluded, shown, undecided = 0, 0, (2 << len(names)) - 2
    for rule in rules:
        found = rule.ends(names, masks) & undecided
        if rule.excludes:
            excluded |= found
        else:
            shown |= found
        undecided &= ~found
        if not undecided:
            break
    return excluded, shown


def _mask(part: re.Pattern[str], names: Sequence[str]) -> int:
    return sum(1 << place for place, name in enumerate(names) if part.fullmatch(name))


def _rule(line: str) -> Rule | None:
    excludes, text = not line.startswith("!"), line.removeprefix("!")
    folders, text = text.endswith("/"), text.removesuffix("/")
    parts = _parts(text.removeprefix("/"))
    if not parts:
        return None
    if "/" not in text:
        parts.insert(0, None)
    if parts[-1] is None:
        parts.append(_ANY)  # what is in a folder, not the folder
    return Rule(tuple(parts), excludes, folders)


def _trimmed(line: str) -> str:
    """`line` without spaces at its end, unless the first of them is escaped."""
    text = line.rstrip(" ")
    escaped = (len(text) - len(text.rstrip("\\"))) % 2
    return line[: len(text) + escaped]


def _parts(text: str) -> list[Part]:
    """The segments of a pattern; none if it can match nothing."""
    if not _WILD.search(text):
        return [*text.split("/")]
    segments: list[list[re.Match[str]]] = [[]]
    for token in _TOKEN.finditer(text):
        if token["wrong"]:
            return []
        if token.group() in ("/", "\\/"):
            segments.append([])
        else:
            segments[-1].append(token)
    return [_part(segment) for segment in segments]


def _part(tokens: list[re.Match[str]]) -> Part:
    if len(tokens) == 1 and len(tokens[0]["stars"] or "") > 1:
        return None
    if all(token["escaped"] or token["plain"] for token in tokens):
        return "".join(token["escaped"] or token["plain"] for token in tokens)
    between = [""]
    for token in tokens:
        if token["stars"]:
            between.append("")
        else:
            between[-1] += _expression(token)
    first, *others = between
    # The first place where what stands between two stars fits is as good as any later one.
    found = "".join(f"(?>.*?{each})" for each in others[:-1])
    return re.compile(first + found + (".*" + others[-1] if others else ""), re.DOTALL)


def _expression(token: re.Match[str]) -> str:
    if token["members"]:
        return f"[{'^' if token['other'] else ''}{''.join(map(_member, _MEMBER.finditer(token['members'])))}]"
    return "." if token["one"] else re.escape(token["escaped"] or token["plain"])


def _member(member: re.Match[str]) -> str:
    if member["class"]:
        return _CLASSES[member["class"][2:-2]]
    low, high = member["low"], member["high"]
    return re.escape(low) + (f"-{re.escape(high)}" if high and low <= high else "")

"""From a `Context` to the token ids of one model family's fill-in-the-middle (FIM) format.

The families are data: a layout of markers and slots, and the texts that end an answer.
Which one a model has is read from its tokenizer, never from its name. A marker counts
only if it encodes to exactly one id that decodes back to it. Text of the user's that
spells a marker is encoded in pieces, so that it never becomes one.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.domain import Context, Engine, Prompt

CHARACTERS_PER_TOKEN = 3
"""A cautious guess for code; `render` measures in tokens what this lets through."""
_PREFIX_SHARE = 0.7
_CLIP_STEPS = 16
_PATH, _PREFIX, _SUFFIX = "{path}\n", "{prefix}", "{suffix}"
_SLOTS = frozenset((_PATH, _PREFIX, _SUFFIX))


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table. Everything in `layout` that is no slot is a marker.

    `needs` are further tokens that tell this family from another with the same markers.
    `glued` says that the tokenizer puts a space before a text, which the suffix must not get.
    """

    name: str
    layout: tuple[str, ...]
    stops: tuple[str, ...]
    needs: tuple[str, ...] = ()
    glued: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        """The markers of the layout, in its order."""
        return tuple(part for part in self.layout if part not in _SLOTS)


def _psm(prefix: str, suffix: str, middle: str) -> tuple[str, ...]:
    return prefix, _PREFIX, suffix, _SUFFIX, middle


_BARS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_UNDERSCORES = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
_HYPHENS = ("<fim-prefix>", "<fim-suffix>", "<fim-middle>")
_QWEN_STOPS = ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>")

FAMILIES = (
    Family(
        "pass-lsp",
        ("<|file|>", _PATH, "<|fim_suffix|>", _SUFFIX, "<|fim_prefix|>", _PREFIX, "<|fim_middle|>"),
        ("<|endoftext|>",),
    ),
    Family("codegemma", _psm(*_BARS), ("<|file_separator|>", "<end_of_turn>", "<eos>"), ("<|file_separator|>",)),
    Family("granite", _psm(*_BARS), ("<|end_of_text|>", "<|fim_pad|>", "<filename>"), ("<|end_of_text|>",)),
    Family("qwen-coder", _psm(*_BARS), (*_QWEN_STOPS, "<|cursor|>")),
    Family("starcoder2", _psm(*_UNDERSCORES), ("<|endoftext|>", "<file_sep>", "<repo_name>"), ("<file_sep>",)),
    Family("starcoder", _psm(*_UNDERSCORES), ("<|endoftext|>", "<|end_of_text|>", "<filename>", "<reponame>")),
    Family("santacoder", _psm(*_HYPHENS), ("<|endoftext|>",)),
    Family(
        "deepseek-coder",
        _psm("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        ("<｜end▁of▁sentence｜>", "<|EOT|>"),
    ),
    Family("codellama", _psm("▁<PRE>", "▁<SUF>", "▁<MID>"), ("▁<EOT>", "</s>"), glued=True),
    Family("codestral", ("[SUFFIX]", _SUFFIX, "[PREFIX]", _PREFIX), ("</s>",), glued=True),
)
LEFT_TO_RIGHT = Family("left-to-right", (_PREFIX,), ())


@dataclass(frozen=True, slots=True)
class Template:
    """A family as one tokenizer spells it: ids for markers, slots as they are, the ids that end an answer."""

    family: Family
    parts: tuple[int | str, ...]
    bos: tuple[int, ...]
    stop_ids: tuple[int, ...]
    special_ids: frozenset[int]
    specials: re.Pattern[str] | None
    """Finds texts in a user's file that the tokenizer would take for special tokens."""

    @property
    def name(self) -> str:
        """The family's name, for status and `doctor`."""
        return self.family.name


_templates: weakref.WeakKeyDictionary[Any, Template] = weakref.WeakKeyDictionary()


def template_for(tokenizer: Any) -> Template:
    """The FIM template that fits this tokenizer, left to right if none does; remembered for each tokenizer."""
    try:
        known = _templates.get(tokenizer)
    except TypeError:
        return _template(tokenizer)
    if known is None:
        known = _templates[tokenizer] = _template(tokenizer)
    return known


def _template(tokenizer: Any) -> Template:
    family = next((row for row in FAMILIES if _speaks(tokenizer, row)), LEFT_TO_RIGHT)
    ids = {text: marker_id(tokenizer, text) for text in (*family.markers, *family.stops)}
    stops = tuple(dict.fromkeys(i for text in (*family.stops, *family.markers) if (i := ids[text]) is not None))
    specials = _specials(tokenizer)
    texts = {text for text, i in ids.items() if i is not None} | set(specials.values())
    # A token of one character cannot be split, and the guard in `_encode` drops it.
    texts = sorted((text for text in texts if len(text) > 1), key=len, reverse=True)
    parts = tuple(part if part in _SLOTS else ids[part] or 0 for part in family.layout)
    pattern = re.compile("|".join(map(re.escape, texts))) if texts else None
    return Template(family, parts, _bos(tokenizer), stops, frozenset((*specials, *stops)), pattern)


def _speaks(tokenizer: Any, family: Family) -> bool:
    return all(marker_id(tokenizer, text) is not None for text in (*family.markers, *family.needs))


def marker_id(tokenizer: Any, marker: str) -> int | None:
    """The id of `marker` if the tokenizer knows it as exactly one token that decodes back, else None."""
    ids = _ids(tokenizer, marker)
    if len(ids) != 1 or ids[0] == getattr(tokenizer, "unk_token_id", None):
        return None
    text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return ids[0] if text.replace("▁", " ").strip() == marker.replace("▁", " ").strip() else None


def _specials(tokenizer: Any) -> dict[int, str]:
    """Special tokens by id: named ones, and added ones, which `all_special_ids` leaves out."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).items()
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    return named | {i: token.content for i, token in added if token.special}


def _bos(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the tokenizer itself puts before a text."""
    bare, full = _ids(tokenizer, "a"), _ids(tokenizer, "a", special=True)
    for at in range(len(full) - len(bare) + 1):
        if full[at : at + len(bare)] == bare:
            return tuple(full[:at])
    return ()


def room(engine: Engine, settings: Settings) -> int:
    """Tokens that a prompt may have, so that the longest answer still fits the engine's `context_length`."""
    length = getattr(engine, "context_length", None)
    if not isinstance(length, int) or length <= 0:
        return max(settings.prompt_tokens, 1)
    answer = max(settings.single_line_tokens, settings.multi_line_tokens)
    # A model with a tiny context keeps half of it for the prompt.
    return max(min(settings.prompt_tokens, max(length - answer, length // 2)), 1)


def characters(room: int) -> int:
    """About how many characters `room` tokens hold."""
    return room * CHARACTERS_PER_TOKEN


def render(context: Context, template: Template, tokenizer: Any, room: int) -> Prompt:
    """The prompt of at most `room` tokens; what is over is cut in whole lines, far from the cursor."""
    texts = {_PATH: short_path(context.path) + "\n", _PREFIX: context.prefix, _SUFFIX: context.suffix}
    ids = {
        slot: _encode(tokenizer, template, _clean(texts[slot]), slot == _SUFFIX and template.family.glued)
        for slot in _SLOTS
        if slot in template.parts
    }
    fixed = len(template.bos) + sum(1 if isinstance(part, int) else 0 for part in template.parts)
    if fixed + len(ids.get(_PATH, ())) >= room // 2 and _PATH in ids:
        ids[_PATH] = ids[_PATH][-1:]
    left = max(room - fixed - len(ids.get(_PATH, ())), 1)
    prefix, suffix = ids[_PREFIX], ids.get(_SUFFIX, [])
    if len(prefix) + len(suffix) > left:
        step = max(left // _CLIP_STEPS, 1)
        # In steps, because the suffix stands first in some families and must not change with every keystroke.
        allowed = min(len(suffix), max(left - int(left * _PREFIX_SHARE), left - _up(len(prefix), step)))
        ids[_SUFFIX] = _clip(tokenizer, template, texts[_SUFFIX], suffix, allowed, 1, from_left=False)
        allowed = left - len(ids[_SUFFIX])
        ids[_PREFIX] = _clip(tokenizer, template, texts[_PREFIX], prefix, allowed, step, from_left=True)
    tokens = list(template.bos)
    for part in template.parts:
        tokens += [part] if isinstance(part, int) else ids[part]
    return Prompt(tuple(tokens), template.stop_ids)


def short_path(path: str) -> str:
    """The name of a file with up to two folders above it, which is what the embedded model is trained on."""
    parts = [part for part in path.replace("\\", "/").split("/") if part]
    return re.sub(r"[\r\n]", " ", "/".join(parts[-3:])) or "untitled"


def _clip(
    tokenizer: Any, template: Template, text: str, ids: list[int], allowed: int, step: int, *, from_left: bool
) -> list[int]:
    """`ids` of `text` cut to `allowed` tokens: whole lines, and as many as a multiple of `step` asks for."""
    if len(ids) <= allowed:
        return ids
    lines = _clean(text).split("\n")
    lines = [line + "\n" for line in lines[:-1]] + lines[-1:]
    lines = lines if from_left else lines[::-1]
    # One more where the tokenizer puts a space before what will be the first line.
    surplus, far = _up(len(ids) - allowed + template.family.glued, step), 0
    # The line at the cursor stays even if it alone is too long; the guard below cuts into it.
    while far < len(lines) - 1 and surplus > 0:
        surplus -= len(_encode(tokenizer, template, lines[far], template.family.glued))
        far += 1
    near = lines[far:]
    glue = not from_left and template.family.glued
    ids = _encode(tokenizer, template, "".join(near if from_left else near[::-1]), glue)
    return ids[max(len(ids) - allowed, 0) :] if from_left else ids[:allowed]


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _clean(text: str) -> str:
    """Text as models know it: `\\n` ends lines, and lone surrogates, which no tokenizer takes, are replaced."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _encode(tokenizer: Any, template: Template, text: str, glued: bool) -> list[int]:
    """Ids of a user's text, none of which is special."""
    tokens: list[int] = []
    for number, piece in enumerate(_pieces(text, template.specials)):
        tokens += _glued(tokenizer, piece) if glued or (number and template.family.glued) else _ids(tokenizer, piece)
    special = template.special_ids
    return tokens if special.isdisjoint(tokens) else [i for i in tokens if i not in special]


def _pieces(text: str, specials: re.Pattern[str] | None) -> Iterator[str]:
    """The text, cut after the first character of everything that looks like a special token."""
    start, match = 0, specials.search(text) if specials else None
    while match and specials:
        cut = match.start() + 1
        yield text[start:cut]
        start, match = cut, specials.search(text, cut)
    if start < len(text):
        yield text[start:]


def _glued(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text without the space that some tokenizers put before it: encoded behind a line end, cut off again."""
    head = _ids(tokenizer, "\n")
    ids = _ids(tokenizer, "\n" + text)
    return ids[len(head) :] if ids[: len(head)] == head else _ids(tokenizer, text)


def _ids(tokenizer: Any, text: str, *, special: bool = False) -> list[int]:
    # Not verbose: a long text is cut below, so the tokenizer's warning about its length would mislead.
    return list(tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]) if text else []

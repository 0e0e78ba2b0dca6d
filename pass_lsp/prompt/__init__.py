"""From a `Context` to the token ids of one model family's fill-in-the-middle (FIM) format."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from pass_lsp.config import Settings
from pass_lsp.documents.languages import lexis_of
from pass_lsp.documents.scan import CLOSERS, Lexis, scan
from pass_lsp.domain import Context, Engine, Prompt, Snippet
from pass_lsp.prompt.density import Densities
from pass_lsp.prompt.families import FAMILIES, PATH, PREFIX, SUFFIX, Files
from pass_lsp.prompt.healing import Unhealed, unfinished
from pass_lsp.prompt.template import Template, clean, encode, marker_id, template_for

__all__ = [
    "FAMILIES",
    "Densities",
    "Template",
    "Unhealed",
    "characters",
    "encode",
    "marker_id",
    "render",
    "room",
    "short_path",
    "template_for",
    "template_of",
    "tokenizer_of",
]

_PREFIX_SHARE = 0.7
_FILES_SHARE = 0.3
"""Of the room, at most, for other files."""
_CLIP_STEPS = 16
_WHOLE = re.compile(r"[/\\]|[A-Za-z]:[/\\]")
"""How a path from a system's root begins."""


def tokenizer_of(engine: Engine) -> Any:
    """What reads and writes an engine's ids: one that needs no transformers, if the engine has it."""
    return getattr(engine, "vocabulary", None) or getattr(engine, "tokenizer", None)


def template_of(engine: Engine) -> Template:
    """The template of the model that an engine runs."""
    return template_for(tokenizer_of(engine))


def room(engine: Engine, settings: Settings) -> int:
    """Ids that a prompt may have, so that the longest answer still fits the engine's `context_length`."""
    length = getattr(engine, "context_length", None)
    ids_per_token = getattr(tokenizer_of(engine), "ids_per_token", 1)
    if not isinstance(length, int) or length <= 0:
        return max(settings.prompt_tokens, 1) * ids_per_token
    return max(min(settings.prompt_tokens, beside_answer(length, settings)), 1) * ids_per_token


def beside_answer(length: int, settings: Settings) -> int:
    """What a context of `length` tokens has for a prompt; a tiny one keeps half of it."""
    return max(length - max(settings.single_line_tokens, settings.multi_line_tokens), length // 2)


def characters(room: int, template: Template) -> int:
    """About how many characters to look at for `room` tokens: more, where what stands below the cursor is not shown."""
    shown = 1 if SUFFIX in template.parts else _PREFIX_SHARE
    return int(room * template.characters_per_token / shown)


def render(context: Context, template: Template, tokenizer: Any, room: int, *, heal: bool = False) -> Prompt:
    """The prompt of at most `room` tokens; what is over is cut in whole lines, far from the cursor.

    With `heal`, a prefix that ends inside a token loses that token, and `Prompt.healed` says its text.
    """
    fixed = len(template.bos) + sum(1 for part in template.parts if isinstance(part, int))
    named = short_path(context.path, context.root)
    path = encode(tokenizer, template, named + "\n") if PATH in template.parts else []
    if fixed + len(path) >= room // 2:
        path = path[-1:]
    left = max(room - fixed - len(path), 1)
    files, inner = _files(context, template, tokenizer, int(left * _FILES_SHARE))
    left = max(left - len(files) - len(inner), 1)
    prefix, suffix, fill = _sides(context, template, tokenizer, left, bool(inner))
    texts = {PATH: path, PREFIX: [*inner, *prefix], SUFFIX: suffix}
    whole = Prompt(_ids(template, files, texts), template.stop_ids, fill=fill)
    if not heal or not (healed := unfinished(tokenizer, prefix)):
        return whole
    texts[PREFIX].pop()
    return Prompt(_ids(template, files, texts), template.stop_ids, healed, whole, fill)


def _ids(template: Template, files: list[int], texts: dict[str, list[int]]) -> tuple[int, ...]:
    tokens = [*template.bos, *files]
    for part in template.parts:
        tokens += [part] if isinstance(part, int) else texts[part]
    return tuple(tokens)


def short_path(path: str, root: str = "") -> str:
    """The name of a file with up to two folders above it, which is what the embedded model is trained on.

    None that `root` lies in, the open folder, is among them: there stand names of the user's own. Elsewhere all of a
    whole path are such, so its name stands alone.
    """
    parts, opened = _parts(path), _parts(root)
    shared = max(len(opened) - 1, 1)
    if opened and parts[:shared] == opened[:shared]:
        parts = parts[len(opened) - 1 :]
    elif _WHOLE.match(path):
        parts = parts[-1:]
    return re.sub(r"[\r\n]", " ", "/".join(parts[-3:])) or "untitled"


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part]


# --- other files -------------------------------------------------------------------


def _files(context: Context, template: Template, tokenizer: Any, room: int) -> tuple[list[int], list[int]]:
    """Ids of the other files, as they stand before everything and as they stand inside the prefix.

    The least important ones go until the rest fits.
    """
    form, snippets = template.files, list(context.snippets)
    while form and snippets:
        tokens = _spelled(form, snippets, context, template, tokenizer)
        if len(tokens) <= room:
            return ([], tokens) if form.inside else (tokens, [])
        # Snippets come in the order of the prompt; their rank says which to drop.
        snippets.remove(max(snippets, key=lambda snippet: snippet.rank))
    return [], []


def _spelled(form: Files, snippets: list[Snippet], context: Context, template: Template, tokenizer: Any) -> list[int]:
    here = _values(Snippet(context.path, ""), context)
    parts = [part.format_map(here) for part in form.head]
    for snippet in snippets:
        parts += [part.format_map(_values(snippet, context)) for part in form.each]
    parts += [part.format_map(here) for part in form.here]
    tokens: list[int] = []
    # Neighbouring texts are one text to the tokenizer, as they were in training.
    for is_marker, run in groupby(
        zip((*form.head, *form.each * len(snippets), *form.here), parts, strict=True), _marks
    ):
        texts = [text for _, text in run]
        tokens += [template.ids[text] for text in texts] if is_marker else encode(tokenizer, template, "".join(texts))
    return tokens


def _marks(part: tuple[str, str]) -> bool:
    return "{" not in part[0]


def _values(snippet: Snippet, context: Context) -> dict[str, str]:
    inside = context.root and snippet.path.startswith(context.root + "/")
    path = snippet.path[len(context.root) + 1 :] if inside else short_path(snippet.path, context.root)
    code = snippet.text.rstrip("\n")
    lexis = lexis_of(context.language)
    remark = "\n".join(lexis.remark(line) if line else "" for line in (f"Path: {path}", *code.split("\n")))
    repo = context.root.rpartition("/")[2] or "repository"
    return {"repo": repo, "path": path, "code": code, "remark": remark}


# --- the current file ----------------------------------------------------------------


def _sides(
    context: Context, template: Template, tokenizer: Any, left: int, inside: bool
) -> tuple[list[int], list[int], float]:
    """Ids of prefix and suffix, together at most `left`, and how many of these they would be with nothing cut."""
    prefix, step = encode(tokenizer, template, context.prefix, glue=inside), max(left // _CLIP_STEPS, 1)
    if SUFFIX not in template.parts:
        fill = len(prefix) / left
        return _clip(tokenizer, template, context.prefix, prefix, left, step, from_left=True), [], fill
    shown = _behind_closers(context) if template.family.suffix_first else context.suffix
    suffix = encode(tokenizer, template, shown, glue=True)
    fill = (len(prefix) + len(suffix)) / left
    if fill > 1:
        # In steps, because the suffix stands first in some families and must not change with every keystroke.
        allowed = min(len(suffix), max(left - int(left * _PREFIX_SHARE), left - _up(len(prefix), step)))
        suffix = _clip(tokenizer, template, shown, suffix, allowed, 1, from_left=False)
        prefix = _clip(tokenizer, template, context.prefix, prefix, left - len(suffix), step, from_left=True)
    return prefix, suffix, fill


def _behind_closers(context: Context) -> str:
    """The suffix without what an editor closes by itself at the cursor.

    A suffix that stands first would change with every bracket that is typed, and all behind it be read anew. The model
    writes the closers itself then; those that the document has are not written twice.
    """
    rest, words = context.line_suffix, context.comment or context.string
    if context.mid_line or not context.suffix.startswith(rest):
        return context.suffix
    below = context.suffix[len(rest) :]
    if words:
        rest = _behind(rest, scan(context.line_prefix, Lexis()).brackets)
    mark = dict(lexis_of(context.language).strings).get(context.string, "")
    if not words or (mark and rest.startswith(mark)):
        rest = _behind(rest.removeprefix(mark), context.brackets)
    return rest + below


def _behind(text: str, brackets: str) -> str:
    """`text` without the closers of `brackets` that it begins with."""
    for at, opened in enumerate(reversed(brackets)):
        if CLOSERS.get(text[at : at + 1]) != opened:
            return text[at:]
    return text[len(brackets) :]


def _clip(
    tokenizer: Any, template: Template, text: str, ids: list[int], allowed: int, step: int, *, from_left: bool
) -> list[int]:
    """`ids` of `text` cut to `allowed` tokens: whole lines, and as many as a multiple of `step` asks for."""
    if len(ids) <= allowed:
        return ids
    lines = clean(text).split("\n")
    lines = [line + "\n" for line in lines[:-1]] + lines[-1:]
    lines = lines if from_left else lines[::-1]
    # One more where the tokenizer puts a space before what will be the first line.
    surplus, far = _up(len(ids) - allowed + template.family.glued, step), 0
    # The line at the cursor stays even if it alone is too long; the guard below cuts into it.
    while far < len(lines) - 1 and surplus > 0:
        surplus -= len(encode(tokenizer, template, lines[far], glue=True))
        far += 1
    near = lines[far:]
    ids = encode(tokenizer, template, "".join(near if from_left else near[::-1]), glue=not from_left)
    return ids[max(len(ids) - allowed, 0) :] if from_left else ids[:allowed]


def _up(value: int, step: int) -> int:
    return -(-value // step) * step

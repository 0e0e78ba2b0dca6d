"""Holes as a model's own prompts, each with the tokens that truly follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pass_lsp.bench.holes import NEAR_PREFIX, NEAR_SUFFIX, Hole
from pass_lsp.domain import Context, Mode
from pass_lsp.engines.local import LocalEngine
from pass_lsp.prompt import render, template_for
from pass_lsp.prompt.families import PATH, PREFIX

ROOM = 128
"""Positions that a prompt leaves free for the answer."""


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt, and the beginning of what truly stands there."""

    token_ids: tuple[int, ...]
    truth: tuple[int, ...]


def prompt_ids(engine: LocalEngine, hole: Hole, *, fill: bool = True) -> tuple[int, ...]:
    """The hole as the model's own fill-in-the-middle prompt; without `fill`, only what stands before it."""
    template = template_for(engine.tokenizer)
    if not fill:
        layout = template.family.layout
        header = layout[: layout.index(PATH) + 1] if PATH in layout else ()
        template = replace(template, family=replace(template.family, layout=(*header, PREFIX)))
    context = Context(hole.prefix[-NEAR_PREFIX:], hole.suffix[:NEAR_SUFFIX], Mode.MULTI_LINE, path=hole.path)
    return render(context, template, engine.tokenizer, engine.context_length - ROOM).token_ids


def tasks_of(engine: LocalEngine, holes: Sequence[Hole], most: int, *, fill: bool = True) -> list[Task]:
    """A task for each hole; a truth has `most` tokens at most. `fill` as in `prompt_ids`."""
    tasks = []
    for hole in holes:
        truth = engine.tokenizer(hole.middle, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        tasks.append(Task(prompt_ids(engine, hole, fill=fill), tuple(truth[:most])))
    return tasks

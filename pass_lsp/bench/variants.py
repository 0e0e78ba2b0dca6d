"""The models that the study compares, made from one engine: untrained vectors, and a smaller draft model."""

from __future__ import annotations

from pathlib import Path

import torch

from pass_lsp.bench.prompts import ROOM
from pass_lsp.bench.speculative import cut_model
from pass_lsp.bench.study import MAX_LENGTH, Models
from pass_lsp.decoding.lookahead import Lookahead, save_lookahead
from pass_lsp.decoding.model import limits_of
from pass_lsp.engines.local import LocalEngine, load_engine
from pass_lsp.errors import ConfigError
from pass_lsp.prompt import template_for

DRAFT_SHARE = 4
"""A draft model that is cut from the large one has one layer in so many."""


def study_models(engine: LocalEngine, draft: str | None, folder: Path, threads: int | None) -> Models:
    """What to compare; new artifacts and models are written to `folder`. Raises `ConfigError`, `ModelError`."""
    if engine.lookahead is None:
        raise ConfigError("The study needs a look-ahead artifact; train one with `pass-lsp train lookahead`.")
    untrained = Lookahead(untrained_vector(engine).repeat(engine.lookahead.length, 1))
    save_lookahead(folder / "untrained", untrained, {"base_model": Path(engine.path).name, "steps": 0})
    if draft is None:
        draft = str(folder / "draft")
        depth = engine.model.config.get_text_config().num_hidden_layers
        cut_model(engine.model, engine.tokenizer, max(1, depth // DRAFT_SHARE), Path(draft))
    place = {"device": engine.device, "dtype": engine.dtype, "threads": threads}
    small = load_engine(draft, lookahead=None, **place)  # type: ignore[arg-type]
    if small.executor.table.size(0) != engine.executor.table.size(0):
        raise ConfigError(f"The draft model {draft} has another vocabulary; use one that shares the tokenizer.")
    stops = template_for(engine.tokenizer).stop_ids
    return Models(
        trained=engine.executor,
        untrained=load_engine(engine.path, lookahead=str(folder / "untrained"), **place).executor,  # type: ignore[arg-type]
        draft=small.executor,
        lengths=range(1, min(MAX_LENGTH, engine.lookahead.length) + 1),
        ends=limits_of(engine.model.config, engine.model.generation_config).eos_ids | set(stops),
    )


def untrained_vector(engine: LocalEngine) -> torch.Tensor:
    """`[1, d]`: the embedding of the token for the unknown, else of padding, else the mean of the table."""
    table = engine.executor.table.float().cpu()
    ids = (engine.tokenizer.unk_token_id, engine.tokenizer.pad_token_id)
    known = next((token for token in ids if token is not None), None)
    return table.mean(0, keepdim=True) if known is None else table[known : known + 1].clone()


def answer_room(wanted: int) -> int:
    """How long an answer may be beside the look-ahead rows that hang behind it."""
    return min(wanted, ROOM - 2 * MAX_LENGTH)

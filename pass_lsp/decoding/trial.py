"""A trial of a stock model at load: does an executor get from it what the model gives by itself?

Any causal model may be named. Some count positions or hide places by themselves, want ids beside
embeddings, or share slots between layers: their answers would be others than their own, or none.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch

from pass_lsp.decoding.cache import KVCache
from pass_lsp.decoding.executor import Executor
from pass_lsp.decoding.forward import Forward
from pass_lsp.decoding.layout import branches
from pass_lsp.errors import LookaheadError, ModelError, is_out_of_memory

_BEFORE, _IDS, _OTHERS = (3, 1, 4, 1, 5), (2, 6), (5, 3)


def require_agreement(path: str, model: Any, executor: Executor) -> None:
    """Raises `ModelError` unless rows behind a cache, and branches, have the logits of a plain forward of `model`.

    A `LookaheadError` where that is the artifact's fault.
    """
    if hasattr(model.config.get_text_config(), "attention_layers"):
        # GPT-Neo hides by the distance of slots, and has none beyond its context: more than the trial's rows can show.
        raise ModelError(_refusal(path, model, "it hides slots by itself"))
    try:
        if "position_ids" not in inspect.signature(model.forward).parameters:
            raise TypeError
        gap, spread = _compared(model, executor)
    except Exception as error:  # whatever the code of some model runs into
        if is_out_of_memory(error):
            raise
        raise ModelError(_refusal(path, model, type(error).__name__)) from error
    if spread != spread:
        raise ModelError(f"{path} gives no numbers where probabilities belong; fetch it again, or try --dtype float32.")
    if gap != gap and executor.lookahead is not None:  # a mask hides no row whose values are no numbers
        raise LookaheadError(
            f"With its look-ahead artifact {path} gives no numbers where probabilities belong; train that again with "
            "`pass-lsp train lookahead`, or choose --lookahead none."
        )
    # In bfloat16 this is no more than a look whether they have anything to do with each other.
    if not gap <= 4 * torch.finfo(executor.table.dtype).eps ** 0.5 * spread:
        raise ModelError(_refusal(path, model, "its logits differ"))


def _refusal(path: str, model: Any, why: str) -> str:
    return (
        f"{path} is a {model.config.model_type} model, whose code does not take positions, masks and slots from "
        f"elsewhere ({why}); choose a decoder-only attention model such as Llama, Qwen2.5-Coder or StarCoder2."
    )


@torch.inference_mode()
def _compared(model: Any, executor: Executor) -> tuple[float, float]:
    """The largest distance between two logits that should be alike, and the largest logit (NaN if one is none)."""
    texts = torch.tensor([(*_BEFORE, *_IDS), (*_BEFORE, *_OTHERS)], device=executor.table.device)
    wanted = model(input_ids=texts, use_cache=False).logits[:, len(_BEFORE) :].float()  # [2, 2, V]
    forward, ahead = Forward(executor, KVCache(executor.new_slots), None), 0
    forward(_BEFORE)
    if executor.lookahead is not None:
        ahead = min(executor.lookahead.length, 2)
    rows = forward(_IDS, ((0, ahead), (1, ahead)) if ahead else (), num_logits=2).real.float()
    gaps = [_gap(rows, wanted[0])]
    forward.crop(len(_BEFORE))
    rounds: list[tuple[int, int]] = []
    for place, tokens in enumerate(zip(_IDS, _OTHERS, strict=True)):
        rows = forward.branch(tokens, branches((0, 1), len(_BEFORE), rounds)).float()
        gaps.append(_gap(rows, wanted[:, place]))
        rounds.append((0, 1))
    return torch.tensor(gaps).max().item(), wanted[wanted.abs() != torch.inf].abs().max().item()


def _gap(found: torch.Tensor, wanted: torch.Tensor) -> float:
    # Ids that no text has may have a logit of -inf.
    return torch.where(found == wanted, 0.0, (found - wanted).abs()).max().item()

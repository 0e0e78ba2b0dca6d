"""One batch through a model of the toy size: packed, in parts, compiled, each gives the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from pass_lsp.train import forward
from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.fim import Batch, Examples, Packer
from pass_lsp.train.forward import Forward, backward, batch_loss, hidden_states, moved
from pass_lsp.train.sizes import new_model, saved_model, size_named
from pass_lsp.train.tokenizer import read_tokenizer

Draw = Callable[[int, int], Batch]


@pytest.fixture(scope="module")
def start(tokenizer_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose blocks all do something, in a folder."""
    model = new_model(size_named("toy"), read_tokenizer(tokenizer_dir), torch.device("cpu"))
    generator = torch.Generator().manual_seed(3)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    folder = tmp_path_factory.mktemp("start")
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="module")
def draw(sources: Path, tokenizer_dir: Path) -> Draw:
    """Makes a batch of so many rows of so many tokens."""
    files, tokenizer = read_corpus(sources), read_tokenizer(tokenizer_dir)
    return lambda rows, length: Packer(Examples(files, tokenizer, length, seed=5), rows, length).batch()


def test_packed_examples_learn_as_each_by_itself(start: Path, draw: Draw) -> None:
    device = torch.device("cpu")
    batch = draw(2, 96)
    gradients: list[dict[str, torch.Tensor]] = []
    for packed in (True, False):
        model = saved_model(start, device)
        for parameter in model.parameters():
            parameter.data.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.05)
        total = batch.weights[:, 1:].sum()
        for one in [batch] if packed else alone(batch):
            share = one.weights[:, 1:].sum() / total
            (batch_loss(model, hidden_states, torch.float32, *moved(one, "cpu")) * share).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 10
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-3, atol=1e-6)


def test_rows_may_go_through_one_after_another(start: Path, draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = draw(3, 96)
    found = []
    for places in (96, 192, 10**6):
        monkeypatch.setattr(forward, "CPU_TOKENS", places)
        model = saved_model(start, torch.device("cpu"))
        loss = backward(model, hidden_states, torch.float32, batch, "cpu")
        found.append((loss, *(parameter.grad for parameter in model.parameters())))
    torch.testing.assert_close(found[0], found[2])
    torch.testing.assert_close(found[1], found[2])


def alone(batch: Batch) -> list[Batch]:
    """Every example of a packed batch in a batch of its own."""
    found = []
    for row in range(len(batch.owner)):
        for owner in range(int(batch.owner[row].max()) + 1):
            at = batch.owner[row] == owner
            whole = (batch.input_ids, batch.weights, batch.position_ids, batch.owner)
            found.append(Batch(*(tensor[row, at][None] for tensor in whole)))
    return found


def test_gradients_agree_with_finite_differences(start: Path, draw: Draw) -> None:
    model = saved_model(start, torch.device("cpu")).double()
    generator = torch.Generator().manual_seed(2)
    for parameter in model.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * 0.1)
    ids, shown, *shape = moved(draw(1, 64), "cpu")

    def loss() -> torch.Tensor:
        hidden = hidden_states(model, torch.float64, ids, *shape)[:, :-1].flatten(0, 1)
        losses = F.cross_entropy(model.lm_head(hidden), ids[:, 1:].flatten(), reduction="none")
        return (losses * shown[:, 1:].flatten()).sum() / shown[:, 1:].sum()

    loss().backward()
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        slope, start, losses = float((parameter.grad * direction).sum()), parameter.detach().clone(), {}
        with torch.no_grad():
            for steps in (-2, -1, 1, 2):
                parameter.copy_(start + 1e-3 * steps * direction)
                losses[steps] = float(loss())
            parameter.copy_(start)
        # Of fourth order: transformers' norms are float32 whatever the model is, so a smaller step would measure
        # their rounding, and two points so far apart the curvature.
        measured = (8 * (losses[1] - losses[-1]) - (losses[2] - losses[-2])) / 12e-3
        assert measured == pytest.approx(slope, rel=0.01, abs=2e-3), name


def test_both_kinds_of_attention_give_the_same(start: Path, draw: Draw) -> None:
    given = moved(draw(2, 96), "cpu")
    losses = []
    for kind in ("cpu", "cuda"):
        model = saved_model(start, torch.device(kind))
        losses.append(batch_loss(model, hidden_states, torch.float32, *given))
    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(losses[0], losses[1])


def zeroed(*given: torch.Tensor) -> torch.Tensor:
    """What a compiler makes that loses the gradients of all blocks."""
    return hidden_states(*given).detach()  # type: ignore[arg-type]


def endless(*given: torch.Tensor) -> torch.Tensor:
    """What a compiler makes whose gradients are not numbers, as torch 2.13 does at 1,024 tokens."""
    hidden = hidden_states(*given)  # type: ignore[arg-type]
    hidden.register_hook(lambda gradient: gradient * torch.nan)
    return hidden


@pytest.mark.parametrize("wrong", [zeroed, endless])
def test_what_is_compiled_wrongly_is_not_used(
    wrong: forward.HiddenOf, start: Path, draw: Draw, caplog: pytest.LogCaptureFixture
) -> None:
    model = saved_model(start, torch.device("cpu"))
    chosen = Forward(wrong, torch.float32, "cpu")
    assert chosen.of(model, draw(2, 96)) is hidden_states
    assert "wrong for 96 tokens" in caplog.text
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_compiled_rightly_is_used_for_each_length_that_was_looked_at(start: Path, draw: Draw) -> None:
    lengths: list[int] = []

    def fast(model: object, dtype: object, ids: torch.Tensor, *shape: torch.Tensor) -> torch.Tensor:
        lengths.append(ids.size(1))
        return hidden_states(model, dtype, ids, *shape)  # type: ignore[arg-type]

    model = saved_model(start, torch.device("cpu"))
    chosen = Forward(fast, torch.float32, "cpu")
    for length in (64, 96, 64, 96, 96):
        assert chosen.of(model, draw(2, length)) is fast
    assert lengths == [64, 96]
    assert all(parameter.grad is None for parameter in model.parameters())

"""Which row sees which, spelled out."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from pass_lsp.decoding.layout import Layout, layout
from pass_lsp.decoding.masks import additive_masks, mask_kinds
from tests.decoding.families import FAMILIES


def test_two_tokens_with_a_group_each() -> None:
    shape = Layout(2, ((0, 1), (1, 2)))
    assert shape.offsets.tolist() == [0, 1, 1, 2, 3]
    assert shape.steps.tolist() == [0, 0, 1]
    assert shape.allowed.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [1, 1, 0, 1, 1],
    ]
    assert not shape.causal


shapes = st.integers(1, 6).flatmap(
    lambda tokens: st.tuples(
        st.just(tokens),
        st.dictionaries(st.integers(0, tokens - 1), st.integers(1, 4)).map(
            lambda groups: tuple(sorted(groups.items()))
        ),
    )
)


@given(shapes)
def test_no_real_row_sees_a_look_ahead_row_and_no_group_another(
    given_shape: tuple[int, tuple[tuple[int, int], ...]],
) -> None:
    tokens, groups = given_shape
    shape = layout(tokens, groups)
    assert shape is layout(tokens, groups)
    assert not shape.allowed[:tokens, tokens:].any()
    assert shape.allowed.diagonal().all()
    assert (
        shape.allowed.sum(1) == 1 + shape.offsets
    ).all()  # each row sees exactly one row for every position up to its own
    begin = tokens
    for row, size in groups:
        mine = shape.allowed[begin : begin + size]
        begin += size
        assert not mine[:, row + 1 : tokens].any()
        assert mine[:, tokens:].sum() == size * (size + 1) // 2
    if shape.causal:
        assert torch.equal(shape.allowed, torch.ones_like(shape.allowed).tril())


def test_windows_hide_by_position_not_by_row() -> None:
    config = FAMILIES["qwen2-sliding"]()
    assert mask_kinds(config) == ("full_attention", "sliding_attention")
    assert mask_kinds(FAMILIES["llama"]()) == ("full_attention",)
    assert mask_kinds(FAMILIES["mistral"]()) == ("sliding_attention",)
    everything = torch.ones(2, 12, dtype=torch.bool)
    masks = additive_masks(config, everything, torch.tensor([9, 11]), torch.arange(12), torch.float32)
    assert not masks["full_attention"].any()
    assert (masks["sliding_attention"] == 0).sum(1).tolist() == [10, 8]

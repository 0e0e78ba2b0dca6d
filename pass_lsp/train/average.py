"""Means of weights: often better than the weights of any one moment, whose last steps were noisy.

The learning rate cannot do the same: what one step adds by chance is gone only after many more.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from transformers import LlamaForCausalLM


class MeanWeights(torch.optim.Optimizer):
    """The mean of a model's weights after each of its steps (Kaddour 2022, "Latest weight averaging").

    It changes no weight; as an optimizer it is kept in a checkpoint as momenta are.
    """

    STATE = ("count", "mean")

    def __init__(self, model: LlamaForCausalLM) -> None:
        super().__init__(model.parameters(), {})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take the weights as they are now into the mean."""
        for parameter in self.param_groups[0]["params"]:
            state = self.state[parameter]
            if not state:
                state |= {"count": torch.zeros(()), "mean": torch.zeros_like(parameter)}
            state["count"] += 1
            state["mean"].lerp_(parameter, 1 / state["count"].item())

    @torch.no_grad()
    def model(self, model: LlamaForCausalLM) -> LlamaForCausalLM | None:
        """A copy of `model` with the mean weights; None before the first step."""
        if not self.state:
            return None
        mean = deepcopy(model)
        for parameter, known in zip(mean.parameters(), self.param_groups[0]["params"], strict=True):
            parameter.copy_(self.state[known]["mean"])
        return mean


@torch.no_grad()
def half_way(start: LlamaForCausalLM, end: LlamaForCausalLM) -> LlamaForCausalLM:
    """`start`, moved half way to `end`.

    Both lie in one valley, and between them it is often deeper (Wortsman et al. 2022, "Model soups").
    """
    for parameter, other in zip(start.parameters(), end.parameters(), strict=True):
        parameter.lerp_(other, 0.5)
    return start

"""Tiny models of every supported family, with random weights."""

from __future__ import annotations

from typing import Any

import torch
import transformers as hf

from pass_lsp.decoding.lookahead import Head, Lookahead, random_lookahead
from pass_lsp.decoding.lora import targets
from pass_lsp.engines.local import LocalEngine, engine_of

SMALL: dict[str, Any] = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}

FAMILIES: dict[str, Any] = {
    "llama": lambda: hf.LlamaConfig(**SMALL),
    "llama-tied": lambda: hf.LlamaConfig(**SMALL, tie_word_embeddings=True),
    "qwen2": lambda: hf.Qwen2Config(**SMALL),
    "qwen2-sliding": lambda: hf.Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=8, max_window_layers=1),
    "qwen3": lambda: hf.Qwen3Config(**SMALL, head_dim=8),
    "starcoder2": lambda: hf.Starcoder2Config(**SMALL, sliding_window=7),
    "mistral": lambda: hf.MistralConfig(**SMALL, sliding_window=6),
    "gemma": lambda: hf.GemmaConfig(**SMALL, head_dim=8),
    "gemma2": lambda: hf.Gemma2Config(**SMALL, head_dim=8, sliding_window=5),
    "gemma3": lambda: hf.Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=5),
    "granite": lambda: hf.GraniteConfig(**SMALL),
    "phi3": lambda: hf.Phi3Config(**SMALL),
    "gpt-bigcode": lambda: hf.GPTBigCodeConfig(
        vocab_size=61, n_positions=128, n_embd=32, n_layer=2, n_head=4, eos_token_id=None, bos_token_id=None
    ),
    "gpt-neox": lambda: hf.GPTNeoXConfig(
        vocab_size=61, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=128, eos_token_id=None, bos_token_id=None,
    ),
}  # fmt: skip


def tiny_model(family: str, seed: int = 0, **changes: Any) -> hf.PreTrainedModel:
    """A random model of `family`, spread out enough that its argmax varies."""
    torch.manual_seed(seed)
    config = FAMILIES[family]()
    for name, value in changes.items():
        setattr(config, name, value)
    model = hf.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(6.0)
    return model.eval().requires_grad_(False)


def tiny_engine(family: str, seed: int = 0, num_lookahead: int = 4, **changes: Any) -> LocalEngine:
    """An engine over `tiny_model`, with random look-ahead embeddings and no tokenizer."""
    model = tiny_model(family, seed, **changes)
    lookahead = random_lookahead(model.get_input_embeddings().weight, num_lookahead)
    return engine_of(model, lookahead=lookahead)


def model_of(family: str) -> hf.PreTrainedModel:
    """A tiny model; of a `-wide` family with heads of 16 numbers."""
    name = family.removesuffix("-wide")
    return tiny_model(name) if name == family else tiny_model(name, head_dim=16)


def artifact(family: str) -> Lookahead:
    """Look-ahead rows with all their parts, at random."""
    model = model_of(family)
    generator = torch.Generator().manual_seed(2)
    start = random_lookahead(model.get_input_embeddings().weight, 3)
    width = model.config.hidden_size
    head = Head(torch.randn(16, width, generator=generator), torch.randn(width, 16, generator=generator))
    lora = {
        path: (
            torch.randn(2, layer.in_features, generator=generator),
            torch.randn(layer.out_features, 2, generator=generator),
        )
        for path, layer in targets(model).items()
    }
    return Lookahead(start.embeddings, (), head, lora)

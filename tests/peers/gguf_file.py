"""A stock Llama as a GGUF file, without a vocabulary (token ids go in and come out) or with its byte-level one.

Runs in the peers' own environment. Rotary rows are put in the order that llama.cpp turns them in:
it pairs neighbours, transformers pairs the halves of a head. Source: the GGUF specification.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
QUANTIZED = {"f32": None, "q8_0": gguf.GGMLQuantizationType.Q8_0}


def write_gguf(
    config: dict[str, Any], weights: dict[str, np.ndarray], path: Path, kind: str, spelt: dict[str, Any] | None = None
) -> None:
    """Write `weights` (transformers' names, float32) to `path` as `f32` or `q8_0`; `config` is the model's own.

    `spelt` is its tokenizer.json.
    """
    writer = gguf.GGUFWriter(path, "llama")
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    if spelt is None:
        writer.add_tokenizer_model("no_vocab")
    else:
        _add_vocabulary(writer, spelt, config["eos_token_id"])
    for name, weight in weights.items():
        renamed = _renamed(name, bool(config["tie_word_embeddings"]))
        if renamed is not None:
            _add(writer, renamed, _turned(name, weight, config), QUANTIZED[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: gguf.GGUFWriter, spelt: dict[str, Any], end: int) -> None:
    """llama.cpp finds the markers for filling in by their names; it splits words in its own way, which is close."""
    special = {each["content"] for each in spelt["added_tokens"] if each["special"]}
    tokens = sorted(spelt["model"]["vocab"], key=spelt["model"]["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if each in special else gguf.TokenType.NORMAL for each in tokens])
    writer.add_token_merges([" ".join(pair) for pair in spelt["model"]["merges"]])
    writer.add_eos_token_id(end)
    writer.add_add_bos_token(False)


def _renamed(name: str, tied: bool) -> str | None:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name == "lm_head.weight":
        return None if tied else "output.weight"
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def _turned(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    heads = {"q_proj": config["num_attention_heads"], "k_proj": config["num_key_value_heads"]}
    count = next((value for part, value in heads.items() if part in name), None)
    if count is None:
        return weight
    rows = weight.shape[0] // count // 2
    return weight.reshape(count, 2, rows, -1).swapaxes(1, 2).reshape(weight.shape)


def _add(writer: gguf.GGUFWriter, name: str, weight: np.ndarray, quantized: Any) -> None:
    weight = np.ascontiguousarray(weight, np.float32)
    if quantized is None or weight.ndim == 1:
        writer.add_tensor(name, weight)
    else:
        writer.add_tensor(name, gguf.quants.quantize(weight, quantized), raw_dtype=quantized)


if __name__ == "__main__":
    import json

    source, target, wanted = sys.argv[1:]
    spelt = Path(source) / "tokenizer.json"
    vocabulary = json.loads(spelt.read_text("utf-8")) if spelt.exists() else None
    with np.load(Path(source) / "weights.npz") as stored:
        write_gguf(
            json.loads((Path(source) / "config.json").read_text()), dict(stored), Path(target), wanted, vocabulary
        )

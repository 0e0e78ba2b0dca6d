"""A graph built by hand for models of Llama's shape, of few large operators; other families are traced (`export.py`).

On a small model a forward is as much operators as products: here a layer is a dozen of them, where
tracing gives eighty. Query, key and value are one product, so are gate and up; ONNX Runtime's own
`GroupQueryAttention` turns by position, writes keys and values into the slots where they lie, and
attends under a mask. It takes a tenth of the time to build, too.

Operators: https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from transformers import PreTrainedModel

from pass_lsp.decoding.layout import SPARE_SLOTS
from pass_lsp.decoding.lora import Factors
from pass_lsp.decoding.masks import mask_kinds

MODEL_TYPES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
MAX_TURNS = 2**22
"""Cosines kept in the graph; a model of more positions × half a head's width is traced instead."""
HEAD_WIDTHS = 16
"""ONNX Runtime's attention turns heads of multiples of so many numbers."""
_FIXED_TURNS = ("default", "linear", "llama3", "yarn")
_OPSET, _IR = 21, 10
_FUSED = "com.microsoft"
_CHANGED = (".self_attn.o_proj", ".mlp.down_proj")


def buildable(model: PreTrainedModel, changes: Factors | None) -> bool:
    """Whether `build` knows this family, its positions, and where its look-ahead rows are changed."""
    config = model.config
    if config.model_type not in MODEL_TYPES or config.hidden_act != "silu":
        return False
    width = model.model.layers[0].self_attn.head_dim
    known = all(path.endswith(_CHANGED) for path in changes or ())
    turns = model.model.rotary_emb.rope_type in _FIXED_TURNS and config.max_position_embeddings * width // 2
    return known and width % HEAD_WIDTHS == 0 and 0 < turns <= MAX_TURNS


@torch.inference_mode()
def build(model: PreTrainedModel, changes: Factors | None, path: Path) -> None:
    """Write the graph of a `buildable` model (float32, on the CPU); `FusedExecutor.forward` tells its inputs."""
    config, body = model.config, model.model
    graph = _Graph(changes or {})
    # The operator wants as many cosines as slots in use.
    cos, sin = body.rotary_emb(torch.zeros(1), torch.arange(config.max_position_embeddings + SPARE_SLOTS)[None])
    turns = [graph.weight(half[0, :, : half.size(-1) // 2]) for half in (cos, sin)]
    seen = graph.node("Gather", [graph.weight(body.embed_tokens.weight), "ids"])
    stream = graph.node("Unsqueeze", [graph.node("Concat", [seen, "extra"], axis=0), graph.ints(0)])
    added: str | None = None
    masks = _masks(config)
    for number, layer in enumerate(body.layers):
        rows, stream = graph.normed(stream, added, layer.input_layernorm)
        added = _attention(graph, rows, layer.self_attn, number, [*turns, "positions", masks[number]])
        rows, stream = graph.normed(stream, added, layer.post_attention_layernorm)
        added = _mlp(graph, rows, layer.mlp, number)
    rows, _ = graph.normed(stream, added, body.norm)
    kept = graph.node("Gather", [graph.node("Squeeze", [rows, graph.ints(0)]), "keep"])
    graph.linear(kept, [model.lm_head], output="logits")
    onnx.save(graph.model(_inputs(config, body), _outputs(body)), str(path), save_as_external_data=True)


def _attention(graph: _Graph, rows: str, layer: Any, number: int, turns_and_mask: list[str]) -> str:
    """What attention adds to the stream: rows `[1, R, d]` → `[1, R, d]`."""
    projections = [layer.q_proj, layer.k_proj, layer.v_proj]
    width = layer.head_dim
    heads, shared = (each.out_features // width for each in projections[:2])
    asked = [graph.linear(rows, projections), "", ""]
    if hasattr(layer, "q_norm"):
        sizes = graph.ints(*(each.out_features for each in projections))
        query, key, value = graph.nodes("Split", [asked[0], sizes], 3, axis=-1)
        asked = [graph.head_norm(query, layer.q_norm, width), graph.head_norm(key, layer.k_norm, width), value]
    *turns, mask = turns_and_mask
    slots = [f"k{number}", f"v{number}"]
    graph.node(
        "GroupQueryAttention",
        [*asked, *slots, "last", "total", *turns, mask],
        [f"mixed{number}", *(f"new_{name}" for name in slots)],
        _FUSED, num_heads=heads, kv_num_heads=shared, do_rotary=1, scale=float(layer.scaling),
    )  # fmt: skip
    return graph.changed(f"mixed{number}", layer.o_proj, f"model.layers.{number}.self_attn.o_proj")


def _mlp(graph: _Graph, rows: str, layer: Any, number: int) -> str:
    """What the gated MLP adds to the stream."""
    gate, up = graph.nodes("Split", [graph.linear(rows, [layer.gate_proj, layer.up_proj])], 2, axis=-1, num_outputs=2)
    inner = graph.node("Mul", [graph.node("QuickGelu", [gate], domain=_FUSED, alpha=1.0), up])
    return graph.changed(inner, layer.down_proj, f"model.layers.{number}.mlp.down_proj")


class _Graph:
    """Nodes and weights as they are added; every method returns the name of what it made."""

    def __init__(self, changes: Factors) -> None:
        self._changes = changes
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        if changes:
            self._tokens = self.node("Shape", ["ids"])
            self._rows = self.node("Shape", ["positions"], start=1)
            self._pads = self.node("Concat", [self._tokens, self.ints(0)], axis=0)
            self._zero = self.weight(torch.zeros(()))

    def node(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str] = (), domain: str = "", **attributes: Any
    ) -> str:
        """Add a node; its first output."""
        named = list(outputs) or [f"n{len(self._nodes)}"]
        self._nodes.append(helper.make_node(operator, list(inputs), named, domain=domain, **attributes))
        return named[0]

    def nodes(self, operator: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node of `count` outputs."""
        outputs = [f"n{len(self._nodes)}_{place}" for place in range(count)]
        self.node(operator, inputs, outputs, **attributes)
        return outputs

    def weight(self, tensor: torch.Tensor) -> str:
        """Add a constant."""
        return self._constant(tensor.detach().float().contiguous().numpy())

    def ints(self, *values: int) -> str:
        """Add a constant of int64 numbers."""
        return self._constant(np.array(values, np.int64))

    def _constant(self, array: np.ndarray) -> str:
        name = f"w{len(self._weights)}"
        self._weights[name] = numpy_helper.from_array(array, name)
        return name

    def linear(self, rows: str, layers: Sequence[Any], output: str = "") -> str:
        """rows `[…, in]` through layers that share them, side by side: `[…, sum of out]`."""
        product = self.weight(torch.cat([layer.weight for layer in layers]).T)
        biased = any(layer.bias is not None for layer in layers)
        made = self.node("MatMul", [rows, product], [output] if output and not biased else ())
        if not biased:
            return made
        parts = [torch.zeros(layer.out_features) if layer.bias is None else layer.bias for layer in layers]
        return self.node("Add", [made, self.weight(torch.cat(parts))], [output] if output else ())

    def changed(self, rows: str, layer: Any, path: str) -> str:
        """rows through `layer`, with the gated LoRA of `path` for the look-ahead rows, which are the last ones."""
        made = self.linear(rows, [layer])
        if path not in self._changes:
            return made
        a, b = self._changes[path]
        across = self.ints(1)
        ahead = self.node("Slice", [rows, self._tokens, self._rows, across])
        change = self.node("MatMul", [self.node("MatMul", [ahead, self.weight(a.T)]), self.weight(b.T)])
        padded = self.node("Pad", [change, self._pads, self._zero, across])
        return self.node("Add", [made, padded])

    def normed(self, stream: str, added: str | None, norm: Any) -> tuple[str, str]:
        """The sum of `stream` and `added`, normalised; and that sum."""
        scale, small = self.weight(norm.weight), norm.variance_epsilon
        if added is None:
            return self.node("SimplifiedLayerNormalization", [stream, scale], axis=-1, epsilon=small), stream
        rows, total = f"n{len(self._nodes)}", f"s{len(self._nodes)}"
        self.node(
            "SkipSimplifiedLayerNormalization", [stream, added, scale], [rows, "", "", total], _FUSED, epsilon=small
        )
        return rows, total

    def head_norm(self, rows: str, norm: Any, width: int) -> str:
        """rows `[1, R, H · D]`, each head's D numbers normalised."""
        apart = self.node("Reshape", [rows, self.ints(0, 0, -1, width)])
        done = self.node(
            "SimplifiedLayerNormalization", [apart, self.weight(norm.weight)], axis=-1, epsilon=norm.variance_epsilon
        )
        return self.node("Reshape", [done, self.ints(0, 0, -1)])

    def model(self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(self._nodes, "forward", inputs, outputs, list(self._weights.values()))
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR)


def _masks(config: Any) -> list[str]:
    """The mask that each layer takes."""
    kinds = mask_kinds(config)
    if len(kinds) == 1:
        return [kinds[0]] * config.num_hidden_layers
    return list(config.layer_types)


def _inputs(config: Any, body: Any) -> list[onnx.ValueInfoProto]:
    ints, floats, value = TensorProto.INT64, TensorProto.FLOAT, helper.make_tensor_value_info
    return [
        value("ids", ints, ["T"]),
        value("extra", floats, ["M", config.hidden_size]),
        value("positions", ints, [1, "R"]),
        value("keep", ints, ["K"]),
        value("last", TensorProto.INT32, [1]),
        value("total", TensorProto.INT32, []),
        *(value(kind, floats, [1, 1, "R", "S"]) for kind in mask_kinds(config)),
        *_slots("", body),
    ]


def _outputs(body: Any) -> list[onnx.ValueInfoProto]:
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["K", body.embed_tokens.num_embeddings])
    return [logits, *_slots("new_", body)]


def _slots(prefix: str, body: Any) -> list[onnx.ValueInfoProto]:
    layers = [layer.self_attn for layer in body.layers]
    return [
        helper.make_tensor_value_info(
            f"{prefix}{part}{number}",
            TensorProto.FLOAT,
            [1, layer.k_proj.out_features // layer.head_dim, "C", layer.head_dim],
        )
        for part in "kv"
        for number, layer in enumerate(layers)
    ]

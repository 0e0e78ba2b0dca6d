"""Loading: a directory or hub id → a stock transformers model and its tokenizer, or one clear sentence."""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from pass_lsp.decoding.explained import explained
from pass_lsp.decoding.int8 import Int8Linear, quantize
from pass_lsp.decoding.masks import window_of
from pass_lsp.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}
FALLBACK_CONTEXT, LEAST_CONTEXT = 2048, 8
GENERIC_TOKENIZER = "TokenizersBackend"


def _transformers() -> ModuleType:
    """The library, quiet. A model that is converted needs none of it, and it takes long to import."""
    import transformers
    from transformers.utils import logging as hf_logging

    hf_logging.disable_progress_bar()
    hf_logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries would be told to the user one by one
    return transformers


def choose_device(name: str) -> torch.device:
    """`auto` is the GPU when there is one. Raises `ConfigError` for a device that is not there."""
    device = _device(name)
    if device.type == "cuda":
        # cuDNN's attention gives NaN for gradients behind some masks (pytorch#196678), and wrong tokens (#193893).
        torch.backends.cuda.enable_cudnn_sdp(False)
    return device


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"Device {name!r} is not available here; use --device cpu or --device auto.") from error
    return device


def choose_dtype(name: str, device: torch.device) -> str:
    """`auto` is float32 on a CPU and bfloat16 on a GPU."""
    if name == "auto":
        return "float32" if device.type == "cpu" else "bfloat16"
    if name not in DTYPES:
        raise ConfigError(f"Unknown dtype {name!r}; use auto, {', '.join(DTYPES)}.")
    return name


def load_model(path: str, device: torch.device, dtype: str, trust_remote_code: bool) -> PreTrainedModel:
    """The model in evaluation mode on `device`. Raises `ModelError`."""
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": _is_here(path)}
    with explained(path):
        config = _transformers().AutoConfig.from_pretrained(path, **options)
        _require_standard_cache(path, config)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, told = _transformers().AutoModelForCausalLM.from_pretrained(
                path, config=config, dtype=DTYPES[dtype], use_safetensors=True, output_loading_info=True, **options
            )
        _require_weights(path, model, told["missing_keys"])
        model = model.eval().requires_grad_(False)
        if dtype == "int8":
            quantize(model)
        model.to(device)  # type: ignore[reportArgumentType]  # transformers hides the plain signature
        return model


def load_tokenizer(path: str, trust_remote_code: bool) -> Any:
    """The model's own tokenizer. Raises `ModelError`.

    One that says of itself that it needs no class of its own is read without the model's
    configuration, whose code takes transformers as long to import as all the rest.
    """
    with explained(path):
        if _names_class(Path(path) / "tokenizer_config.json", GENERIC_TOKENIZER):
            return _transformers().PreTrainedTokenizerFast.from_pretrained(path)
        return _transformers().AutoTokenizer.from_pretrained(
            path, trust_remote_code=trust_remote_code, local_files_only=_is_here(path)
        )


def _names_class(file: Path, wanted: str) -> bool:
    try:
        found = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("tokenizer_class") == wanted and "auto_map" not in found


def table_of(model: PreTrainedModel) -> torch.Tensor:
    """The input embedding table `[V, d]`."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    return weight


def output_table(model: PreTrainedModel) -> torch.Tensor | None:
    """The weight `[V, d]` of the layer that makes logits of last hidden states; None where there is no such layer."""
    layer = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    if isinstance(layer, Int8Linear):
        return layer.weight.to(layer.scale.dtype) * layer.scale
    weight = getattr(layer, "weight", None)
    return weight if isinstance(weight, torch.Tensor) else None


def cache_name(model: PreTrainedModel) -> str:
    """What a forward of the model calls the cache that it takes and returns: `cache` from transformers 5.24 on."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a model's configuration says: sizes, the sliding window, what ends an answer, the positions there are."""

    hidden_size: int
    num_layers: int
    window: int | None
    eos_ids: frozenset[int]
    context_length: int

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps({**asdict(self), "eos_ids": sorted(self.eos_ids)}))

    @classmethod
    def read(cls, path: Path) -> Limits:
        """Read what `save` wrote. Raises `OSError`, `ValueError`, `TypeError`."""
        found = cls(**json.loads(path.read_text()))
        return replace(found, eos_ids=frozenset(found.eos_ids))


def load_limits(path: str, trust_remote_code: bool) -> Limits:
    """The limits of the model at `path`, without its weights. Raises `ModelError`."""
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code, "local_files_only": _is_here(path)}
    with explained(path):
        config = _transformers().AutoConfig.from_pretrained(path, **options)
        _require_standard_cache(path, config)
        limits = limits_of(config, _generation_config(path))
    if limits.context_length < LEAST_CONTEXT:
        raise ModelError(
            f"{path} has a context of {limits.context_length} tokens, too few for a prompt; "
            "check max_position_embeddings in its config.json."
        )
    return limits


def _generation_config(path: str) -> Any:
    """None where there is none, as in most directories of base models."""
    folder = os.path.exists(path)
    if folder and not (Path(path) / "generation_config.json").exists():
        return None
    try:
        return _transformers().GenerationConfig.from_pretrained(path, local_files_only=_is_here(path))
    except (OSError, ValueError):
        if folder:
            raise
        return None


def limits_of(config: Any, generation: Any) -> Limits:
    """The limits of a model config; EOS ids come from the generation config, else from the model config.

    Raises whatever a malformed one runs into.
    """
    text = config.get_text_config()
    found = [getattr(source, "eos_token_id", None) for source in (generation, config, text)]
    eos = next((ids for ids in found if ids is not None), ())
    ends = frozenset([eos] if isinstance(eos, int) else eos)
    if not all(isinstance(end, int) for end in ends):
        raise ValueError("eos_token_id must be a token id or a list of them")
    return Limits(text.hidden_size, text.num_hidden_layers, window_of(text), ends, _context_of(text))


def _context_of(text: Any) -> int:
    """How many positions there are that a model treats alike."""
    lengths = [getattr(text, name, None) for name in ("max_position_embeddings", "n_positions", "max_sequence_length")]
    context = next((value for value in lengths if isinstance(value, int) and value > 0), FALLBACK_CONTEXT)
    turns = getattr(text, "rope_parameters", None) or {}
    for kind in (turns, *turns.values()):
        # One position more, and all of them turn otherwise, those of kept keys included.
        if isinstance(kind, dict) and kind.get("rope_type") == "longrope":
            context = min(context, kind.get("original_max_position_embeddings") or context)
    return context


def _is_here(path: str) -> bool:
    """Whether nothing is to be fetched: a path, or a model of which the hub's cache has all.

    To ask the hub for news at every start would take minutes where there is no network.
    """
    if os.path.exists(path):
        return True
    from transformers.utils.hub import cached_file

    def cached(name: str) -> str:
        return str(cached_file(path, name, local_files_only=True))

    with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # no id, a damaged cache
        for name in ("config.json", "tokenizer_config.json"):
            cached(name)
        with contextlib.suppress(OSError):
            return bool(cached("model.safetensors"))
        index = json.loads(Path(cached("model.safetensors.index.json")).read_text("utf-8"))
        return all(map(cached, set(index["weight_map"].values())))
    return False


def _require_standard_cache(path: str, config: Any) -> None:
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if getattr(config, "is_encoder_decoder", False) or kinds - {"full_attention", "sliding_attention"}:
        raise ModelError(
            f"{path} is a {config.model_type} model, which does not keep a plain key-value cache; "
            "choose a decoder-only attention model such as Llama, Qwen2.5-Coder or StarCoder2."
        )


def _require_weights(path: str, model: PreTrainedModel, missing: Iterable[str]) -> None:
    """What the files lack, transformers fills with random numbers and goes on."""
    lacking = sorted(dict(model.named_parameters()).keys() & set(missing))
    if lacking:
        raise ModelError(
            f"{path} lacks {len(lacking)} of the weights that its config.json tells of ({lacking[0]}); "
            "fetch it again, or name a model that was made for generating text."
        )

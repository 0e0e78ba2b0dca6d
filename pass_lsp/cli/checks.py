"""What `doctor` looks at, in the order in which one thing needs the other."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pass_lsp.config import Settings
from pass_lsp.cores import cores, memory
from pass_lsp.domain import Engine
from pass_lsp.errors import PassLspError, sentence
from pass_lsp.metrics.ledger import read
from pass_lsp.metrics.percentiles import percentile
from pass_lsp.reasons import Reason

if TYPE_CHECKING:
    from pass_lsp.engines.local import LocalEngine

_LEAST_FREE = 100 << 20
_RECENT = 500
_ENDLESS_MS = 1e9
_SPEED_TEST = "import os\n\n\ndef size_of(path):\n    return os.path."
_ROUND_TRIP = "def f(x):\n\treturn {'é': x[0]}  # 中 \U0001f600\n"
_REMEDIES = {
    Reason.MODEL_FAILED: "the model could not be loaded; see the check 'model' above",
    Reason.LOAD_CANCELLED: "loading was cancelled; ask by hand (an explicit trigger) to load it",
    Reason.DISABLED: "switched off by `enabled` or `disabled_languages`",
    Reason.TOO_LARGE: "the file is too large or minified",
    Reason.EXCLUDED: "the file's name says that it holds secrets",
    Reason.UNSURE: "the model was too unsure to be right or taken; set `hide_unsure` to false to see them all",
    Reason.DEADLINE: "too slow here: a smaller model, a GPU, or a longer `deadline_ms`",
    Reason.ENGINE_AWAY: "the engine elsewhere gave no answer; see the check 'engine' above, or start it",
    Reason.FAILED: "a bug; see the server's log",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `remedy` is empty when there is nothing to do."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def checks_of(settings: Settings) -> Iterator[Check]:
    """All checks; those that need the engine only if it can be loaded or reached.

    Whatever one of them runs into ends its group alone, as a line of its own.
    """
    engine = ("engine", _elsewhere(settings)) if settings.engine else ("model", _here(settings))
    for name, group in (("python", _installed()), engine, ("folders", _own_files()), ("answers", _recent_answers())):
        try:
            yield from group
        except Exception as error:
            yield Check(name, False, "cannot be looked at", sentence(error))


def _installed() -> Iterator[Check]:
    """Python and the libraries."""
    supported = sys.version_info >= (3, 11)
    yield Check("python", supported, platform.python_version(), "" if supported else "install Python 3.11 or newer")
    for name in ("torch", "transformers", "pygls", "tree-sitter"):
        yield _package(name)


def _elsewhere(settings: Settings) -> Iterator[Check]:
    """Whether the engine at an address can be reached, and what it is."""
    from pass_lsp.cli.options import remote_engine
    from pass_lsp.engines.remote import without_secrets

    began = time.perf_counter()
    try:
        engine = remote_engine(settings)
        peer = engine.peer
    except PassLspError as error:
        yield Check("engine", False, f"{without_secrets(settings.engine)}: no answer", str(error))
        return
    took = (time.perf_counter() - began) * 1000
    context = f", {peer.context_length} tokens of context" if peer.context_length else ""
    served = f"{engine.address.shown}: {peer.adapter.name}, model {peer.model or 'unnamed'}{context}"
    yield Check("engine", True, f"{served}, found in {took:.0f} ms")
    try:
        yield from _fim(engine)
        yield from _speed(engine)
    except PassLspError as error:
        yield Check("answer", False, "no completion", str(error))


def _here(settings: Settings) -> Iterator[Check]:
    """Whether the model can be loaded in this process, and how it does."""
    from pass_lsp.cli.options import local_engine

    model, device = settings.model, settings.device
    files = _model_files(model)
    yield _memory(files)
    began = time.perf_counter()
    try:
        engine = local_engine(
            model, device, settings.dtype, settings.lookahead, trust_remote_code=settings.trust_remote_code
        )
    except PassLspError as error:
        yield Check("model", False, "cannot be loaded", str(error))
    else:
        yield _model(engine, files, time.perf_counter() - began)
        yield _device(engine, device)
        yield _tokenizer(engine)
        yield from _fim(engine)
        yield _lookahead(engine)
        engine.forget()
        yield from _speed(engine)


def _package(name: str) -> Check:
    try:
        return Check(name, True, metadata.version(name))
    except metadata.PackageNotFoundError:
        return Check(name, False, "not installed", "install pass-lsp again: pip install --force-reinstall pass-lsp")


def _model_files(model: str) -> list[Path]:
    """The weights of a model in a directory; none of one that the hub holds."""
    from pass_lsp.engines.embedded import embedded_model

    try:
        folder = embedded_model() if model == "embedded" else Path(model)
    except PassLspError:
        return []
    return sorted(folder.glob("*.safetensors")) if folder.is_dir() else []


def _memory(files: list[Path]) -> Check:
    import psutil

    free = min([psutil.virtual_memory().available, *memory()])
    # Stored in half precision, held in full on a CPU, and twice while it is converted.
    needed = 4 * sum(file.stat().st_size for file in files)
    enough = free >= needed
    remedy = "" if enough else "close other programs, choose a smaller model, or --dtype int8"
    known = f", about {_size(needed)} needed to load the model" if files else ""  # the hub's are not here yet
    return Check("memory", enough, f"{_size(free)} free{known}", remedy)


def _model(engine: LocalEngine, files: list[Path], took_s: float) -> Check:
    size = f", {_size(sum(file.stat().st_size for file in files))}" if files else ""
    return Check("model", True, f"{engine.path}{size}, {engine.dtype}, loaded in {took_s:.1f} s")


def _device(engine: LocalEngine, wanted: str) -> Check:
    idle_gpu = wanted == "auto" and engine.device == "cpu" and shutil.which("nvidia-smi")
    remedy = "an NVIDIA GPU is here; install the CUDA build of torch that pytorch.org names" if idle_gpu else ""
    runs = {"TorchExecutor": "stock forward", "StaticExecutor": "CUDA graphs"}.get(type(engine.executor).__name__)
    count = cores()
    place = f"{engine.device}, {count} core{'s' if count > 1 else ''}"
    return Check("device", True, f"{place}, {runs or 'converted model'}", remedy)


def _tokenizer(engine: LocalEngine) -> Check:
    ids = engine.tokenizer(_ROUND_TRIP, add_special_tokens=False)["input_ids"]
    same = engine.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    exact = same.lstrip(" ") == _ROUND_TRIP
    remedy = "" if exact else "texts change on their way through it; check tokenizer.json, or use another model"
    return Check("tokenizer", exact, f"{len(engine.tokenizer)} tokens, gives back what it is given: {exact}", remedy)


def _fim(engine: Engine) -> Iterator[Check]:
    from pass_lsp.completion import self_test
    from pass_lsp.prompt import template_for

    template = template_for(engine.tokenizer)
    if template.name == "left-to-right":
        found = "left to right: the model will not see what follows the cursor"
        yield Check("template", True, found)
        return
    yield Check("template", True, f"fill-in-the-middle, {template.name}")
    problem = self_test(engine)
    yield Check("self-test", not problem, "markers in the answer" if problem else "an answer without markers", problem)


def _lookahead(engine: LocalEngine) -> Check:
    if engine.lookahead is None:
        remedy = f"for more speed: pass-lsp train lookahead --model {engine.path} --data YOUR_CODE --out DIR"
        return Check("look-ahead", True, "none; only copies are drafted", remedy)
    accepted = sum(engine.lookahead.acceptance)
    return Check(
        "look-ahead",
        True,
        f"{engine.lookahead.length} tokens, {accepted:.2f} accepted a cycle; auto uses {engine.auto_strategy}",
    )


def _speed(engine: Engine) -> Iterator[Check]:
    from pass_lsp.completion import complete

    for name in ("cold", "warm"):
        began = time.perf_counter()
        complete(_SPEED_TEST, 4, 19, engine=engine, path="doctor.py")
        took = (time.perf_counter() - began) * 1000
        remedy = "" if took < 1000 else "too slow to type with; a smaller model, --dtype int8 or a GPU helps"
        yield Check(name, True, f"{took:.0f} ms for a one-line answer", remedy)


def _own_files() -> Iterator[Check]:
    """Folders that must be writable, and the settings file."""
    import platformdirs

    from pass_lsp.server.folders import NAME, config_file, ledger_file
    from pass_lsp.server.settings import Layers

    for name, folder in {
        "cache": Path(platformdirs.user_cache_dir(NAME, appauthor=False)),
        "ledger": ledger_file().parent,
    }.items():
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free
        ok = there.is_dir() and os.access(there, os.W_OK) and free >= _LEAST_FREE
        remedy = "" if ok else f"make {there} a folder that is writable, and free some space there"
        yield Check(name, ok, f"{folder}, {_size(free)} free", remedy)
    layers = Layers({})
    layers.read_files([Path.cwd()])
    for folder in (None, Path.cwd()):
        layers.resolved(folder)
    found = str(config_file()) if config_file().exists() else f"the defaults ({config_file()} may change them)"
    yield Check("settings", not layers.complaints, found, " ".join(layers.complaints))


def _recent_answers() -> Iterator[Check]:
    """What the ledger says of the last answers, and why some of them were empty."""
    from pass_lsp.server.folders import ledger_file

    try:
        answers = [event for event in read(ledger_file()) if event["kind"] == "answer"][-_RECENT:]
    except OSError as error:
        yield Check("answers", False, f"the ledger cannot be read ({error.strerror})", f"remove {ledger_file()}")
        return
    if not answers:
        yield Check("answers", True, "none recorded yet")
        return
    reasons = Counter(str(event["reason"]) for event in answers if event.get("reason"))
    told = (event.get("ms", 0) for event in answers)
    latencies = sorted(ms for ms in told if isinstance(ms, int | float) and 0 <= ms < _ENDLESS_MS)
    said = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    found = f"the last {len(answers)}: p50 {percentile(latencies, 50):.0f} ms; empty: {said or 'none'}"
    common = [reason for reason, count in reasons.most_common() if count * 4 >= len(answers)]
    remedy = "; ".join(text for reason, text in _REMEDIES.items() if reason.value in common)
    wrong = any(
        reason.value in common for reason in (Reason.MODEL_FAILED, Reason.FAILED, Reason.DEADLINE, Reason.ENGINE_AWAY)
    )
    yield Check("answers", not wrong, found, remedy)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"

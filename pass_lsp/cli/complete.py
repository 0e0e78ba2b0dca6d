"""`pass-lsp complete FILE:LINE:COL`: one completion without an editor."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from pass_lsp.cli import options
from pass_lsp.config import Settings
from pass_lsp.errors import ConfigError
from pass_lsp.reasons import Reason

if TYPE_CHECKING:
    from pass_lsp.completion import Outcome
    from pass_lsp.documents.document import Document
    from pass_lsp.documents.workspace import Workspace
    from pass_lsp.domain import Engine, SamplingParams

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 10_000_000
_PLACE = re.compile(r"(.+):(\d{1,18}):(\d{1,18})", re.ASCII | re.DOTALL)


def _spelled(place: str) -> str:
    if not _PLACE.fullmatch(place):
        raise typer.BadParameter(f"{place!r} is not FILE:LINE:COL; write for example app.py:12:5.")
    return place


def complete(
    place: Annotated[
        str, typer.Argument(metavar="FILE:LINE:COL", help="1-based; COL counts characters.", callback=_spelled)
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the text.")] = False,
    engine: options.OwnEngine = None,
    engine_kind: options.OwnKind = None,
    engine_template: options.OwnTemplate = None,
    model: options.OwnModel = None,
    device: options.OwnDevice = None,
    dtype: options.OwnDtype = None,
    lookahead: options.OwnLookahead = None,
    trust_remote_code: options.OwnTrust = None,
    strategy: options.StrategyName = None,
    max_new_tokens: Annotated[int, typer.Option(min=0, help="The longest answer, in tokens.")] = 64,
    temperature: Annotated[float, typer.Option(help="0 is greedy.", callback=options.temperature)] = 0.0,
    seed: Annotated[int, typer.Option(help="Of sampling; the same seed gives the same answer.")] = 0,
    log_level: options.LogLevel = "warning",
) -> None:
    """Complete a file at a position and print the text to insert.

    What is not given is taken from the settings files, as the server takes it.
    """
    from pass_lsp.completion import Outcome
    from pass_lsp.domain import SamplingParams
    from pass_lsp.server import logs

    logs.configure(log_level)
    named = options.given(
        model=model, device=device, dtype=dtype, lookahead=lookahead, trust_remote_code=trust_remote_code,
        engine=engine, engine_kind=engine_kind, engine_template=engine_template,
        strategy=strategy,
    )  # fmt: skip
    document, offset = _place(place)
    around = _workspace(document)
    settings = _settings(named, around)
    params = SamplingParams(
        max_new_tokens=max_new_tokens, temperature=temperature, seed=seed, strategy=settings.strategy
    )
    if settings.off_for(document.language):
        _print(Outcome(reason=Reason.DISABLED), 0.0, as_json)
        return
    loaded = _engine(settings)
    began = time.perf_counter()
    outcome = _run(loaded, document, offset, settings, params, around, live=not as_json)
    _print(outcome, (time.perf_counter() - began) * 1000, as_json)


def _settings(named: dict[str, Any], around: Workspace) -> Settings:
    """What the command line says, over the file of the repository, over the user's; but nothing hurries here."""
    from pass_lsp.server.settings import Layers

    layers, root = Layers(named), next(map(Path, around.roots), None)
    layers.read_files([root] if root else [])
    settings = layers.resolved(root)
    for complaint in layers.complaints:
        log.warning("%s", complaint)
    return replace(settings, deadline_ms=0)


def _engine(settings: Settings) -> Engine:
    if settings.engine:
        return options.remote_engine(settings)
    trust = settings.trust_remote_code
    return options.local_engine(
        settings.model, settings.device, settings.dtype, settings.lookahead, trust_remote_code=trust
    )


def _place(text: str) -> tuple[Document, int]:
    """The document and the offset that FILE:LINE:COL names. Raises `ConfigError`."""
    from pass_lsp.documents.document import Document
    from pass_lsp.documents.languages import language_of

    match = _PLACE.fullmatch(text)
    assert match is not None
    path, line, column = Path(match[1]), int(match[2]), int(match[3])
    try:
        with path.open("rb") as file:
            found = file.read(MAX_FILE_BYTES + 1)  # a pipe and a device do not say how long they are
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); check the path.") from error
    if len(found) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{path} is larger than {MAX_FILE_BYTES // 1_000_000} MB; completion is meant for source files."
        )
    content = found.decode("utf-8-sig", "replace")
    whole = path.absolute()
    document = Document(whole.as_uri(), content, language=language_of(str(path), ""), path=whole.as_posix())
    if not 1 <= line <= document.line_count:
        raise ConfigError(f"{path} has lines 1 to {document.line_count}; there is no line {line}.")
    width = document.line_end(line - 1) - document.line_start(line - 1)
    if not 1 <= column <= width + 1:
        raise ConfigError(f"Line {line} of {path} has columns 1 to {width + 1}; there is no column {column}.")
    return document, document.line_start(line - 1) + column - 1


def _run(
    engine: Engine,
    document: Document,
    offset: int,
    settings: Settings,
    params: SamplingParams,
    around: Workspace,
    live: bool,
) -> Outcome:
    from pass_lsp.completion import complete_document
    from pass_lsp.prompt import tokenizer_of

    console = Console()
    if not live or not console.is_terminal:
        return complete_document(document, offset, engine, settings, params, workspace=around)
    ids: list[int] = []
    # What is committed may still be cut at the end of the block, so it is shown until the answer is final.
    with Live(Text(""), console=console, transient=True) as view:

        def show(run: list[int]) -> None:
            ids.extend(run)
            view.update(Text(tokenizer_of(engine).decode(ids, skip_special_tokens=True), style="dim"))

        return complete_document(document, offset, engine, settings, params, on_commit=show, workspace=around)


def _workspace(document: Document) -> Workspace:
    """The repository that a file lies in, or the part of it with settings of its own; else nothing."""
    from pass_lsp.documents.workspace import Workspace
    from pass_lsp.server.settings import WORKSPACE_FILE

    folders = Path(document.path).absolute().parents
    root = next((it for it in folders if (it / ".git").exists() or (it / WORKSPACE_FILE).is_file()), None)
    return Workspace(roots=(root.as_posix(),) if root else ())


def _print(outcome: Outcome, took_ms: float, as_json: bool) -> None:
    found, generation = outcome.completion, outcome.completion.generation if outcome.completion else None
    if as_json:
        row = {
            "text": found.text if found else None,
            "start": found.start if found else None,
            "end": found.end if found else None,
            "reason": outcome.reason.value if outcome.reason else None,
            "took_ms": round(took_ms, 1),
        }
        if generation:
            row |= {
                "finish": generation.finish,
                "strategy": generation.strategy,
                "tokens": len(generation.token_ids),
                "forwards": generation.forwards,
                "tokens_per_forward": round(generation.tokens_per_forward, 3),
                "drafted": generation.drafted,
                "accepted": generation.accepted,
            }
        typer.echo(json.dumps(row))
    elif found:
        typer.echo(found.text)
    else:
        typer.echo(f"pass-lsp: no completion here ({outcome.reason.value if outcome.reason else 'empty'}).", err=True)

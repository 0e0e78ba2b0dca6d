"""The command line: parses, calls one room, prints. The only place that prints.

Exit codes: 0 success, 1 a failure explained in one sentence, 2 wrong usage. Heavy
imports happen inside commands, so that `--version` and `--help` stay instant.
"""

from __future__ import annotations

import logging
import sys

import typer

import pass_lsp
from pass_lsp.cli import bench, complete, doctor, serve, train
from pass_lsp.errors import PassLspError

app = typer.Typer(
    name="pass-lsp",
    help="Local multi-line code completion for any editor.",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve")(serve.serve)
app.command("complete")(complete.complete)
app.command("doctor")(doctor.doctor)
app.add_typer(bench.app, name="bench")
app.add_typer(train.app, name="train")


@app.callback()
def root(context: typer.Context, version: bool = typer.Option(False, "--version", help="Show the version and exit.")) -> None:
    """Local multi-line code completion for any editor."""
    if version:
        typer.echo(f"pass-lsp {pass_lsp.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        # An editor starts the bare command with a pipe; a person at a terminal wants to know what there is.
        if sys.stdin.isatty():
            typer.echo(context.get_help())
        else:
            serve.serve()


def main() -> None:
    """Run the command line; every expected failure ends in one sentence on stderr."""
    try:
        app()
    except PassLspError as error:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            raise
        typer.echo(f"pass-lsp: {error}", err=True)
        sys.exit(1)
    except (MemoryError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            sys.exit(1)
        typer.echo(f"pass-lsp: {error or 'out of memory'}; free some and try again.", err=True)
        sys.exit(1)

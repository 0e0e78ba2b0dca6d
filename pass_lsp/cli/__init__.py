"""The command line: parses, calls one room, prints. The only place that prints.

Exit codes: 0 success, 1 a failure explained in one sentence, 2 wrong usage. Heavy
imports happen inside commands, so that `--version` and `--help` stay instant.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

import typer

import pass_lsp
from pass_lsp.cli import bench, complete, deploy, doctor, engine, serve, stats, train
from pass_lsp.errors import sentence

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
app.command("engine")(engine.engine)
app.command("deploy")(deploy.deploy)
app.command("doctor")(doctor.doctor)
app.command("stats")(stats.stats)
app.add_typer(bench.app, name="bench")
app.add_typer(train.app, name="train")


def _say_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pass-lsp {pass_lsp.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: bool = typer.Option(
        False, "--version", is_eager=True, expose_value=False, callback=_say_version, help="Show the version and exit."
    ),
) -> None:
    """Local multi-line code completion for any editor."""
    if context.invoked_subcommand is None:
        # An editor starts the bare command with a pipe; a person at a terminal wants to know what there is.
        if sys.stdin is not None and sys.stdin.isatty():
            typer.echo(context.get_help())
        else:
            serve.serve()


def command_line() -> Any:
    """The tree of commands; like `--help`, `--version` is understood by each of them."""
    tree = typer.main.get_command(app)
    version = next(param for param in tree.params if param.name == "version")
    below = list(tree.commands.values())  # type: ignore[attr-defined]
    for command in below:
        command.params.append(version)
        below += getattr(command, "commands", {}).values()
    return tree


def main() -> None:
    """Run the command line; every failure ends in one sentence on stderr and exit code 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A pipe on Windows and a bare locale have few letters; what they lack is spelled, as on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command_line()(prog_name="pass-lsp")
    except KeyboardInterrupt:  # before the command itself, or behind it
        sys.exit(130)
    except Exception as error:
        if logging.getLogger("pass_lsp").isEnabledFor(logging.DEBUG):
            raise
        # Nobody is left to read what `head` and the like have closed.
        if not isinstance(error, BrokenPipeError):
            typer.echo(f"pass-lsp: {sentence(error)}", err=True)
        sys.exit(1)

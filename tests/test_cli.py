"""The command line: what it prints where, and its exit codes.

Most tests call `main` in this process, which is what the console script calls; a few start the real command.
"""

from __future__ import annotations

import io
import json
import logging
import math
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

import pass_lsp
from pass_lsp import cli
from pass_lsp.cli import checks, deploy, options, serve
from pass_lsp.errors import ConfigError, ModelError
from pass_lsp.metrics.gate import ledger_name
from pass_lsp.serving.plan import Plan
from tests.engines import fakes

COMMANDS = [
    [],
    ["serve"],
    ["complete"],
    ["engine"],
    ["deploy"],
    ["doctor"],
    ["stats"],
    *(["bench", *name] for name in ([], ["decode"], ["infill"], ["latency"], ["load"], ["typing"])),
    *(["train", *name] for name in ([], ["corpus"], ["tokenizer"], ["base"], ["export"], ["lookahead"])),
    *(["train", *name] for name in (["card"], ["sources"])),
]
SOURCE = "import os\n\n\ndef size_of(path):\n    return os.path.\n"
PLACE = "example.py:5:20"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """`pass-lsp …` in this process, in a folder with `example.py`."""
    logger = logging.getLogger("pass_lsp")
    before = logger.level, logger.handlers[:], logger.propagate
    (tmp_path / "example.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    def main(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["pass-lsp", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    yield main
    logger.level, logger.handlers[:], logger.propagate = before


def real(*arguments: str, cwd: Path, stdin: str = "") -> Done:
    """The real command."""
    done = subprocess.run(
        [sys.executable, "-m", "pass_lsp", *arguments], cwd=cwd, input=stdin, capture_output=True, text=True
    )
    return Done(done.returncode, done.stdout, done.stderr)


def explained(done: Done) -> str:
    """The one sentence of a failure; checks that there is nothing else."""
    assert done.code == 1, done
    assert done.out == ""
    [line] = done.err.splitlines()
    assert line.startswith("pass-lsp: ") and line.endswith(".")
    assert ";" in line  # what is wrong; what to do
    return line


# --- help, version, wrong usage -----------------------------------------------


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_version(run: Run, command: list[str]) -> None:
    assert run(*command, "--version") == Done(0, f"pass-lsp {pass_lsp.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(run: Run, command: list[str]) -> None:
    done = run(*command, "--help")
    assert (done.code, done.err) == (0, "")
    assert done.out.lstrip().startswith("Usage: pass-lsp" + " ".join(["", *command]))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_says_what_every_option_is(command: list[str]) -> None:
    found: Any = cli.command_line()
    for word in command:
        found = found.commands[word]
    assert [param.name for param in found.params if not param.hidden and not param.help] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["complete"],
        ["complete", "example.py"],
        ["complete", "example.py:five:1"],
        ["complete", "example.py:5"],
        pytest.param(["complete", "example.py:1:" + "9" * 5000], id="more digits than Python reads"),
        ["complete", PLACE, "--temperature", "nan"],
        ["complete", PLACE, "--temperature", "inf"],
        ["complete", PLACE, "--temperature", "-1"],
        ["complete", PLACE, "--no-such-option"],
        ["complete", PLACE, "--max-new-tokens", "many"],
        ["complete", PLACE, "--max-new-tokens", "-1"],
        ["complete", PLACE, "--strategy", "psychic"],
        ["complete", PLACE, "--log-level", "loud"],
        ["serve", "--clientProcessId", "me"],
        ["serve", "--log-level", "loud"],
        ["serve", "--tcp", "nonsense"],
        ["serve", "--tcp", "localhost:99999"],
        ["serve", "--tcp", "localhost:²"],
        ["serve", "--tcp", "localhost:1", "--stdio"],
        ["bench", "infill", "--holes", "0"],
        *(["bench", "decode", "--temperature", "0", "--temperature", odd] for odd in ("nan", "inf", "-1")),
        ["train", "base"],
        ["train", "base", "--corpus", ".", "--tokenizer", ".", "--out", "out", "--minutes", "-1"],
        ["train", "tokenizer", "--corpus", ".", "--out", "out", "--vocab-size", "100"],
        ["train", "lookahead", "--model", ".", "--data", ".", "--out", "out", "--length", "0"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["complete", PLACE, "--strategy", "psychic"], "use one of autoregressive, pass, merged, auto"),
        (["serve", "--log-level", "loud"], "use one of debug, info, warning, error"),
        (["serve", "--tcp", "nonsense"], "write for example 127.0.0.1:2087"),
        (["serve", "--tcp", "localhost:1", "--stdio"], "give one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_told_what_is_right(run: Run, arguments: list[str], says: str) -> None:
    assert says in " ".join(run(*arguments).err.replace("│", " ").split())


def test_words_of_a_list_may_be_in_letters_of_any_case(run: Run) -> None:
    assert "missing.py" in explained(run("complete", "missing.py:1:1", "--log-level", "Error", "--strategy", "AUTO"))


@pytest.mark.parametrize("command", [[], ["serve"], ["serve", "--stdio"]], ids=" ".join)
def test_the_bare_command_on_a_pipe_is_the_server(tmp_path: Path, command: list[str]) -> None:
    bodies = [
        {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}},
        {"id": 2, "method": "shutdown"},
        {"method": "exit"},
    ]
    texts = [json.dumps({"jsonrpc": "2.0", **body}) for body in bodies]
    done = real(*command, cwd=tmp_path, stdin="".join(f"Content-Length: {len(text)}\r\n\r\n{text}" for text in texts))
    assert done.code == 0, done.err
    assert '"name": "pass-lsp"' in done.out or '"name":"pass-lsp"' in done.out


def test_the_bare_command_on_a_terminal_is_the_help(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    done = run()
    assert done.code == 0
    assert done.out.lstrip().startswith("Usage: pass-lsp")


@pytest.mark.parametrize("command", [[], ["serve"]], ids=" ".join)
@pytest.mark.parametrize("closed", ["stdin", "stdout"])
def test_no_server_without_pipes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str], closed: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["pass-lsp", *command])
    with monkeypatch.context() as patch:
        if closed == "stdout":
            patch.setattr(sys, "stdin", io.StringIO())
        patch.setattr(sys, closed, None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 1 and "which are closed; start it" in capsys.readouterr().err


# --- failures -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["complete", "missing.py:1:1"], "missing.py"),
        (["complete", ".:1:1"], "cannot be read"),
        (["complete", "example.py:0:1"], "lines 1 to 6"),
        (["complete", "example.py:7:1"], "lines 1 to 6"),
        (["complete", "example.py:1:0"], "columns 1 to 10"),
        (["complete", "example.py:1:11"], "columns 1 to 10"),
        (["complete", PLACE, "--engine", "http://localhost:1"], "--engine"),
        (["complete", PLACE, "--model", "no/such/folder"], "no/such/folder"),
        (["complete", PLACE, "--model", "."], "config.json"),
        (["complete", PLACE, "--lookahead", "nope"], "The look-ahead artifact nope cannot be read"),
        (["serve", "--log-file", "no/such/folder/log"], "no/such/folder/log"),
        (["train", "tokenizer", "--corpus", "nowhere", "--out", "out"], "train corpus"),
        (["train", "base", "--corpus", ".", "--tokenizer", "nowhere", "--out", "out"], "train tokenizer"),
        (["train", "base", "--corpus", ".", "--tokenizer", ".", "--out", "out", "--size", "vast"], "toy, cpu"),
        (["train", "export", "--run", ".", "--corpus", ".", "--tokenizer", ".", "--out", "out"], "train base"),
        (["train", "card", "--model", "."], "train export"),
        (["train", "sources", "--corpus", "."], "train corpus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_failure_is_one_sentence_with_a_remedy(run: Run, arguments: list[str], says: str) -> None:
    assert says in explained(run(*arguments))


WRITING = [
    ["corpus"],
    ["tokenizer", "--corpus", "nowhere"],
    ["base", "--corpus", "nowhere", "--tokenizer", "nowhere"],
    ["export", "--run", "nowhere", "--corpus", "nowhere", "--tokenizer", "nowhere"],
    ["lookahead", "--model", "nowhere", "--data", "nowhere"],
]


@pytest.mark.parametrize("step", WRITING, ids=lambda step: step[0])
def test_a_step_that_cannot_write_says_so_first(run: Run, step: list[str]) -> None:
    Path("file").touch()
    assert "for file; check the path" in explained(run("train", *step, "--out", "file"))


@pytest.mark.parametrize("step", WRITING, ids=lambda step: step[0])
def test_two_commands_do_not_write_one_folder(run: Run, tmp_path: Path, step: list[str]) -> None:
    with FileLock(tmp_path / ".lock"):
        assert "Another command writes" in explained(run("train", *step, "--out", str(tmp_path)))
    # It is free again, also behind a command that failed.
    for _ in range(2):
        told = explained(run("train", "base", "--corpus", ".", "--tokenizer", "nowhere", "--out", str(tmp_path)))
        assert "train tokenizer" in told


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--dtype", "float7"], "float32, bfloat16, int8"),
        (["--device", "toaster"], "--device cpu"),
        (["--lookahead", "nowhere"], "train lookahead"),
        (["--strategy", "pass"], "train lookahead"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_do_not_fit_the_model(run: Run, model_dir: Path, arguments: list[str], says: str) -> None:
    assert says in explained(run("complete", PLACE, "--model", str(model_dir), *arguments))


def test_a_broken_model_is_a_sentence(run: Run, model_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model_dir.iterdir():
        (broken / file.name).write_bytes(file.read_bytes()[: 300 if file.suffix == ".safetensors" else None])
    assert str(broken) in explained(run("complete", PLACE, "--model", str(broken)))
    (broken / "model.safetensors").unlink()
    assert "safetensors" in explained(run("complete", PLACE, "--model", str(broken)))
    (broken / "config.json").write_text("{")
    explained(run("complete", PLACE, "--model", str(broken)))


def test_a_file_that_is_too_large(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "large.py").open("wb") as large:
        large.truncate(10_000_001)
    assert "10 MB" in explained(run("complete", "large.py:1:1"))


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="a device of Unix")
def test_a_file_without_an_end(run: Run) -> None:
    assert "10 MB" in explained(run("complete", "/dev/zero:1:1"))


def test_letters_that_the_output_lacks_are_spelled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.TextIOWrapper(io.BytesIO(), "cp1252")  # as on Windows
    monkeypatch.setattr(sys, "stdout", pipe)
    done = run("doctor", "--model", "no/such/folder")
    assert (done.code, done.err) == (1, "")
    pipe.seek(0)
    assert "cannot be loaded  \\u2192 There is no model directory" in pipe.read()


def test_what_nobody_expected_is_a_sentence_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(error: Exception) -> Callable[[str], object]:
        def stat(place: str) -> object:
            raise error

        return stat

    for error, says in (
        (ZeroDivisionError("division by zero"), "ZeroDivisionError"),
        (MemoryError(), "memory"),
        (OSError(28, "No space left on device", "out.json"), "out.json"),
    ):
        monkeypatch.setattr(cli.complete, "_place", fail(error))
        assert says in explained(run("complete", PLACE))


def test_an_interrupt_outside_of_a_command_is_quiet(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "command_line", interrupted)
    assert run("stats") == Done(130, "", "")


@pytest.mark.parametrize("read", ["typer", "dataclasses"])
@pytest.mark.parametrize("as_script", [False, True])
def test_an_interrupt_before_all_is_read_is_quiet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_script: bool, read: str
) -> None:
    (tmp_path / f"{read}.py").write_text("raise KeyboardInterrupt")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(Path(pass_lsp.__file__).parents[1]))))
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))
    module, _, name = project["project"]["scripts"]["pass-lsp"].partition(":")
    how = ["-c", f"import sys; from {module} import {name}; sys.exit({name}())"] if as_script else ["-m", "pass_lsp"]
    done = subprocess.run([sys.executable, *how, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_address_of_ipv6(host: str) -> None:
    assert serve._address(f"{host}:2087") == ("::1", 2087)


def test_a_traceback_is_for_those_who_ask(tmp_path: Path) -> None:
    explained(real("complete", "missing.py:1:1", cwd=tmp_path))
    done = real("complete", "missing.py:1:1", "--log-level", "debug", cwd=tmp_path)
    assert done.code == 1
    assert "Traceback" in done.err


# --- complete -----------------------------------------------------------------


def completed(run: Run, model_dir: Path, place: str, *arguments: str) -> dict[str, object]:
    """The JSON object of `complete --json`."""
    done = run("complete", place, "--json", "--model", str(model_dir), *arguments)
    assert (done.code, done.err) == (0, "")
    [line] = done.out.splitlines()
    return json.loads(line)


def test_complete_prints_one_json_object(run: Run, model_dir: Path) -> None:
    row = completed(run, model_dir, PLACE, "--max-new-tokens", "3")
    assert row.keys() >= {"text", "start", "end", "reason", "took_ms"}
    if row["text"] is None:
        assert row["reason"]
    else:
        assert row["start"] == SOURCE.index("path.\n") + 5
        assert row.keys() >= {"finish", "strategy", "tokens", "forwards", "tokens_per_forward", "drafted", "accepted"}


def test_strategies_and_dtypes_agree_on_the_shape_of_the_answer(run: Run, model_dir: Path) -> None:
    plain = completed(run, model_dir, PLACE, "--strategy", "autoregressive")
    drafted = completed(run, model_dir, PLACE, "--strategy", "pass", "--lookahead", "random")
    assert (drafted["text"], drafted["reason"]) == (plain["text"], plain["reason"])
    for dtype in ("bfloat16", "int8"):
        assert completed(run, model_dir, PLACE, "--dtype", dtype).keys() >= {"text", "reason"}


def test_a_seed_repeats_a_sample(run: Run, model_dir: Path) -> None:
    def sample(seed: int) -> dict[str, object]:
        row = completed(run, model_dir, PLACE, "--temperature", "1", "--seed", str(seed))
        return {key: value for key, value in row.items() if key != "took_ms"}

    assert sample(7) == sample(7)


@pytest.mark.parametrize(
    ("content", "name", "place", "reason"),
    [
        (bytes(range(256)) * 40, "binary.py", "1:1", "binary-file"),
        (b"", "empty.py", "1:1", "nothing-before-cursor"),
        (b"TOKEN=\n", ".env", "1:7", "excluded-file"),
        (b"name = 'a\xff\xfe'\nvalue = \n", "invalid.py", "2:9", None),
        (b"\xef\xbb\xbfvalue = \n", "mark.py", "1:9", None),
        (b"begin\n  do \nend\n", "strange.unheard-of", "2:6", None),
        (b"x = 1\n" * 50_000, "long.py", "40000:6", None),
    ],
    ids=["binary", "empty", "secret", "invalid UTF-8", "byte order mark", "unknown language", "50 000 lines"],
)
def test_files_of_every_kind_are_handled(
    run: Run, model_dir: Path, tmp_path: Path, content: bytes, name: str, place: str, reason: str | None
) -> None:
    (tmp_path / name).write_bytes(content)
    row = completed(run, model_dir, f"{name}:{place}", "--max-new-tokens", "4")
    if reason:
        assert (row["text"], row["reason"]) == (None, reason)
    else:
        assert row["text"] or row["reason"] == "model-had-nothing-to-add"


def test_without_json_the_text_alone_is_on_stdout(run: Run, model_dir: Path, tmp_path: Path) -> None:
    place = [PLACE, "--model", str(model_dir), "--max-new-tokens", "3", "--seed", "1", "--temperature", "1"]
    row = completed(run, model_dir, *place)
    done = run("complete", *place)
    assert done.code == 0
    assert done.out == (f"{row['text']}\n" if row["text"] else "")
    (tmp_path / "empty.py").write_text("")
    done = run("complete", "empty.py:1:1", "--model", str(model_dir))
    assert done == Done(0, "", "pass-lsp: no completion here (nothing-before-cursor).\n")


def test_what_is_not_given_is_as_the_server_has_it(
    run: Run, model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pass-lsp").mkdir()
    own = tmp_path / "pass-lsp" / "config.toml"
    own.write_text(f"model = '{model_dir}'\nlookahead = 'random'\nstrategy = 'pass'\nprompt_tokens = 'many'\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".pass-lsp.toml").write_text("strategy = 'autoregressive'\nin_comments = false\nmodel = 'evil'\n")
    samples = (("--json", "--max-new-tokens", "3", "--temperature", "1", "--seed", str(seed)) for seed in range(30))
    sample = next(each for each in samples if "strategy" in json.loads(run("complete", PLACE, *each).out))
    done = run("complete", PLACE, *sample)
    named = run("complete", PLACE, *sample, "--model", str(model_dir), "--lookahead", "random")
    assert json.loads(done.out) | {"took_ms": 0} == json.loads(named.out) | {"took_ms": 0}
    assert json.loads(done.out)["strategy"] == "autoregressive"
    complaints = done.err.splitlines()
    assert len(complaints) == 2 and "'prompt_tokens' must be" in complaints[0] and "'model' is ignored" in complaints[1]
    assert json.loads(run("complete", PLACE, *sample, "--strategy", "pass").out)["strategy"] == "pass"
    (tmp_path / "example.py").write_text("import os\n# The path is\n")
    assert json.loads(run("complete", "example.py:2:14", *sample).out)["reason"] == "inside-comment-or-string"
    own.write_text("engine = 'http://127.0.0.1:1'")
    assert "No engine can be reached at http://127.0.0.1:1" in run("complete", "example.py:1:10").err


@pytest.mark.parametrize("said", ["enabled = false", "disabled_languages = ['python']"])
def test_where_suggestions_are_off_there_is_none(run: Run, tmp_path: Path, said: str) -> None:
    (tmp_path / ".pass-lsp.toml").write_text(said)
    (tmp_path / "example.rs").write_text("fn main() {\n")
    nowhere = ("--engine", "http://127.0.0.1:1")
    assert run("complete", PLACE, *nowhere) == Done(0, "", "pass-lsp: no completion here (disabled).\n")
    assert json.loads(run("complete", PLACE, "--json", *nowhere).out)["reason"] == "disabled"
    elsewhere = run("complete", "example.rs:2:1", *nowhere)
    assert elsewhere.code == (0 if "enabled" in said.split() else 1), "other languages are asked for"


@pytest.mark.parametrize("command", [["complete", PLACE], ["doctor"]], ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("arguments", "here"),
    [
        ([], False),
        (["--engine", ""], True),
        (["--model", "embedded"], True),
        (["--model", "embedded", "--engine", "http://127.0.0.1:1"], False),
        (["--dtype", "int8"], False),
    ],
)
def test_the_command_line_stands_over_an_engine_of_the_settings_file(
    run: Run, config: Path, trusted: list[bool], command: list[str], arguments: list[str], here: bool
) -> None:
    config.write_text("engine = 'http://127.0.0.1:1'\ntrust_remote_code = true")
    done = run(*command, *arguments)
    assert done.code == 1 and trusted == ([True] if here else [])
    assert ("No engine can be reached" in done.out + done.err) is not here


@pytest.mark.parametrize("repository", [False, True])
def test_the_nearest_settings_file_above_counts(run: Run, model_dir: Path, tmp_path: Path, repository: bool) -> None:
    inner = tmp_path / "part" / "inner"
    inner.mkdir(parents=True)
    if repository:
        (tmp_path / ".git").mkdir()
    (tmp_path / ".pass-lsp.toml").write_text("in_comments = true")
    (tmp_path / "part" / ".pass-lsp.toml").write_text("in_comments = false")
    (inner / "a.py").write_text("import os\n# The path is\n")
    row = completed(run, model_dir, f"{inner / 'a.py'}:2:14", "--max-new-tokens", "3")
    assert row["reason"] == "inside-comment-or-string"


def test_the_real_command_completes(model_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(SOURCE)
    done = real("complete", PLACE, "--json", "--model", str(model_dir), cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    assert "text" in json.loads(done.out)


# --- doctor -------------------------------------------------------------------


def test_doctor_finds_a_good_model_good(run: Run, model_dir: Path) -> None:
    done = run("doctor", "--json", "--model", str(model_dir), "--lookahead", "random")
    checks = {check["name"]: check for check in json.loads(done.out)}
    assert done.code == 0 and all(check["ok"] for check in checks.values())
    assert list(checks) == [
        *("python", "torch", "transformers", "pygls", "tree-sitter", "memory", "model", "device", "tokenizer"),
        *("template", "self-test", "look-ahead", "cold", "warm", "cache", "ledger", "settings", "answers"),
    ]
    assert "pass-lsp" in checks["template"]["found"] and checks["device"]["found"].endswith("stock forward")
    plain = run("doctor", "--model", str(model_dir))
    assert plain.code == 0 and len(plain.out.splitlines()) == len(checks)
    assert "train lookahead" in plain.out and "none; only copies are drafted" in plain.out


def test_doctor_names_a_remedy_for_a_bad_one(run: Run) -> None:
    done = run("doctor", "--json", "--model", "no/such/folder")
    bad = [check for check in json.loads(done.out) if not check["ok"]]
    assert done.code == 1
    assert [check["name"] for check in bad] == ["model"]
    assert "no/such/folder" in bad[0]["remedy"]
    assert "0 B" not in done.out  # of memory for what is not there


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each engine that a command wants may bring its own code; none is loaded."""
    asked: list[bool] = []

    def local_engine(*_: object, trust_remote_code: bool = False, **__: object) -> None:
        asked.append(trust_remote_code)
        raise ModelError("It is not loaded; this is a test.")

    monkeypatch.setattr(options, "local_engine", local_engine)
    return asked


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's settings file, to be written."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pass-lsp").mkdir()
    return tmp_path / "pass-lsp" / "config.toml"


@pytest.mark.parametrize(
    "command",
    [["complete", PLACE], ["doctor"], ["bench", "decode", "--holes", "1"], ["bench", "infill", "--holes", "1"]],
    ids=" ".join,
)
def test_a_model_brings_its_own_code_where_that_is_said(run: Run, trusted: list[bool], command: list[str]) -> None:
    run(*command)
    run(*command, "--trust-remote-code")
    assert trusted == [False, True]


def test_doctor_says_at_once_what_it_found(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(options, "local_engine", killed)
    done = run("doctor")
    assert done.code == 130 and "ok   memory" in done.out


def test_doctor_knows_the_bound_of_a_container(run: Run, monkeypatch: pytest.MonkeyPatch, trusted: list[bool]) -> None:
    monkeypatch.setattr(checks, "memory", lambda: iter([1 << 50, 8 << 20]))
    done = run("doctor", "--json")
    found = next(check for check in json.loads(done.out) if check["name"] == "memory")
    assert trusted and not found["ok"] and found["found"].startswith("8 MiB free, ")


def test_doctor_sees_a_file_where_a_folder_should_be(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # as macOS has it
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json", "--model", "no/such/folder").out)}
    assert not checks["cache"]["ok"] and f"make {tmp_path / 'file'} a folder" in checks["cache"]["remedy"]


def test_replicas_trust_whom_the_command_line_trusts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def no_cluster(wanted: Plan) -> None:
        asked.append(wanted.trust_remote_code)
        raise ConfigError("There is no Ray; this is a test.")

    monkeypatch.setattr(deploy, "_cluster", no_cluster)
    explained(run("deploy"))
    explained(run("deploy", "--trust-remote-code"))
    Path("team.toml").write_text("trust_remote_code = true")
    explained(run("deploy", "--config", "team.toml"))
    explained(run("deploy", "--config", "team.toml", "--no-trust-remote-code"))
    assert asked == [False, True, True, False]


def test_doctor_trusts_whom_the_settings_trust(run: Run, trusted: list[bool], config: Path) -> None:
    config.write_text("trust_remote_code = true")
    run("doctor")
    run("doctor", "--no-trust-remote-code")
    assert trusted == [True, False]


def test_doctor_goes_on_after_what_nobody_expected(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(options, "local_engine", fail)
    done = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.out)}
    assert done.code == 1 and [name for name, check in checks.items() if not check["ok"]] == ["model"]
    assert "ZeroDivisionError" in checks["model"]["remedy"]
    assert list(checks)[-4:] == ["cache", "ledger", "settings", "answers"]


def test_doctor_reads_a_ledger_that_somebody_edited(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "pass-lsp").mkdir()
    values = ('"x"', "[1]", "null", "1e999", "NaN", "1" + "0" * 400, "7")
    lines = "".join(f'{{"kind":"answer","ms":{value}}}\n' for value in values)
    (tmp_path / "pass-lsp" / "ledger.jsonl").write_text(lines)
    done = run("doctor", "--json", "--model", "nowhere")
    answers = json.loads(done.out)[-1]
    assert answers["name"] == "answers" and answers["ok"] and "the last 7: p50 7 ms" in answers["found"]


def test_doctor_tells_bad_settings_and_why_answers_were_empty(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "pass-lsp").mkdir()
    (tmp_path / "pass-lsp" / "config.toml").write_text("strategy = 'psychic'")
    (tmp_path / ".pass-lsp.toml").write_text("model = 'evil'")
    slow = {"kind": "answer", "source": "model", "ms": 999, "reason": "deadline"}
    (tmp_path / "pass-lsp" / "ledger.jsonl").write_text((json.dumps(slow) + "\n") * 3)
    checks = {check["name"]: check for check in json.loads(run("doctor", "--json", "--model", "nowhere").out)}
    assert [name for name, check in checks.items() if not check["ok"]] == ["model", "settings", "answers"]
    assert "psychic" not in checks["settings"]["remedy"] and "'strategy'" in checks["settings"]["remedy"]
    assert "'model' is ignored in a workspace file" in checks["settings"]["remedy"]
    assert "deadline 3" in checks["answers"]["found"] and "deadline_ms" in checks["answers"]["remedy"]


# --- stats ----------------------------------------------------------------------


def test_stats_of_nothing_and_of_something(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert "Nothing is recorded yet" in run("stats").out
    (tmp_path / "pass-lsp").mkdir()
    events = [
        {"kind": "answer", "source": "model", "ms": 80.0, "tokens": 9, "forwards": 6},
        {"kind": "answer", "source": "memory", "ms": 0.4},
        {"kind": "answer", "source": "model", "ms": 20.0, "reason": "inside-a-word"},
        {"kind": "shown", "characters": 20},
        {"kind": "accepted", "characters": 20},
        {"kind": "kept", "after_s": 30, "characters": 15, "of": 20},
    ]
    (tmp_path / "pass-lsp" / "ledger.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    found = json.loads(run("stats", "--json").out)
    assert (found["answers"], found["from_memory"], found["acceptance"]) == (3, 1, 1.0)
    assert found["latency_ms"]["memory"]["p99"] == 0.4 and found["tokens_per_forward"] == 1.5
    assert found["retained"]["after_30_s"] == {"characters": 15, "of": 20, "share": 0.75}
    assert found["gate"] == {"learnt_from": 0, "learnt": False, "least_probability": 0.0}
    plain = run("stats").out
    assert "still there after 30 s" in plain and "75%" in plain and "inside-a-word 1" in plain
    assert "nothing, by what became of 0 suggestions" in plain


def test_stats_tells_what_is_hidden(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "pass-lsp").mkdir()
    events: list[dict[str, object]] = [{"kind": "answer", "source": "model", "ms": 80.0, "log_prob": -1.0}]
    for number in range(400):
        seen = {"at": time.time(), "log_prob": -number / 50, "model": "m", "characters": 20}
        events += [{"kind": kind, **seen} for kind in (["shown", "accepted"] if number < 200 else ["shown"])]
    events.append({"kind": "answer", "source": "model", "ms": 80.0, "reason": "low-confidence", "log_prob": -8.0})
    (tmp_path / "pass-lsp" / "ledger.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    found = json.loads(run("stats", "--json").out)
    least = pytest.approx(math.exp(-199 / 50), abs=1e-5)
    assert found["gate"] == {"learnt_from": 400, "learnt": True, "least_probability": least}
    plain = run("stats").out
    assert "below a probability of 1.87% for their first words, by what became of 400 suggestions" in plain
    assert "low-confidence 1" in plain


def test_stats_tells_what_was_measured_as_hopeless(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("pass_lsp.cli.stats.measured_hopeless", lambda model: -5.0 if model == "embedded" else 0.0)
    (tmp_path / "pass-lsp").mkdir()
    seen = {"at": time.time(), "log_prob": -1.0, "model": ledger_name("embedded"), "characters": 20}
    events = [{"kind": "answer", "source": "model", "ms": 80.0}, {"kind": "shown", **seen}]
    (tmp_path / "pass-lsp" / "ledger.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert "below a probability of 0.67% for their first words, as measured of the model" in run("stats").out


def test_doctor_looks_at_an_engine_elsewhere(run: Run) -> None:
    with fakes.serving(fakes.sglang()) as fake:
        checks = {check["name"]: check for check in json.loads(run("doctor", "--json", "--engine", fake.url).out)}
    assert (
        checks["engine"]["ok"]
        and "sglang, model deepseek-ai/deepseek-coder-1.3b-base, 16384" in checks["engine"]["found"]
    )
    assert checks["template"]["found"].endswith("deepseek-coder") and checks["warm"]["ok"]
    done = run("doctor", "--json", "--engine", fake.url)
    away = {check["name"]: check for check in json.loads(done.out)}["engine"]
    assert done.code == 1 and not away["ok"] and "start it there" in away["remedy"]


def test_bench_asks_an_engine_elsewhere_as_it_is_told(run: Run, tmp_path: Path) -> None:
    hole = {"prompt": "def add(a, b):\n    return ", "suffix": "\n", "canonical_solution": "a + b"}
    (tmp_path / "holes.jsonl").write_text(json.dumps(hole) + "\n")
    with fakes.serving(fakes.ollama() | {"/v1/engine": fakes.told({})}) as fake:
        there = ("--engine", fake.url, "--engine-kind", "ollama", "--engine-template", "qwen-coder")
        found = json.loads(run("bench", "infill", "--data", "holes.jsonl", *there).out)
        assert found["holes"] == 1 and found["model"] == "qwen2.5-coder:1.5b"
        assert "/v1/engine" not in {each.path for each in fake.asked}
        wrong = run("bench", "infill", "--data", "holes.jsonl", *there[:2], "--engine-kind", "psychic")
        assert "Unknown engine_kind 'psychic'" in explained(wrong)


def test_complete_asks_an_engine_elsewhere(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "add.py"
    source.write_text("def add(a, b):\n    return \n")
    with fakes.serving(fakes.ollama()) as fake:
        assert run("complete", f"{source}:2:12", "--engine", fake.url).out == "a + b\n"
    done = run("complete", f"{source}:2:12", "--engine", fake.url)
    assert done.code == 1 and done.out == "" and "No engine can be reached" in done.err

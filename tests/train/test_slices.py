"""The rehearsal: a whole training of the toy size in slices, killed, split, moved to another machine and joined."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pass_lsp.errors import TrainError
from pass_lsp.train import installed, manifest, slices
from pass_lsp.train.base import Plan, train_base
from pass_lsp.train.corpus import SourceFile, read_corpus, write_files
from pass_lsp.train.export import export_model
from pass_lsp.train.lock import alone
from pass_lsp.train.pack import pack_corpus, pack_run, unpack_corpus, unpack_run
from pass_lsp.train.parts import collect, join, select, split

ABSENT = ("typer", "rich", "pygls", "lsprotocol", "tree_sitter", "platformdirs", "matplotlib", "scipy")
"""What a bare machine does not have; importing one of them fails there."""


@pytest.fixture(scope="module")
def corpus(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with a whole manifest."""
    folder = tmp_path_factory.mktemp("corpus")
    files = [SourceFile("python", "PSF-2.0", path, text, path == "queue.py") for path, text in read_corpus(sources)]
    facts = {
        name: write_files(folder / f"{name}.jsonl.gz", [file for file in files if file.held_out == held_out])
        for name, held_out in (("train", False), ("heldout", True))
    }
    manifest.write(folder / "manifest.json", {**facts, "sources": [{"source": "python", "license": "PSF-2.0"}]})
    return folder


@pytest.fixture
def box(corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> Path:
    """The corpus, packed at home in parts of a few kilobytes."""
    out = tmp_path / "box"
    assert slices.main(["pack", *paths(corpus=corpus, tokenizer=tokenizer_dir, out=out), "--part-mib", "0.004"]) == 0
    return out


def paths(**given: Path) -> list[str]:
    return [text for name, path in given.items() for text in (f"--{name}", str(path))]


def slice_options(machine: Path, *boxes: Path, out: str = "out", tokens: float = 0.03) -> list[str]:
    fixed = ["--size", "toy", "--device", "cpu", "--workers", "0", "--million-tokens", str(tokens), "--rate", "0.9"]
    limits = ["--part-mib", "0.2", "--max-files", "3", "--max-mib", "1"]
    given = paths(work=machine / "work", out=machine / out)
    return ["train", *given, *fixed, *limits, *(["--box", *map(str, boxes)] if boxes else [])]


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def killed(arguments: list[str], checkpoint: Path) -> int:
    """Run a slice as a bare machine would, kill it when it has left a checkpoint; returns the step it had reached."""
    code = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); from pass_lsp.train import slices; "
    command = [sys.executable, "-c", f"{code}sys.exit(slices.main({arguments!r}))"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while child.poll() is None and not (checkpoint / "progress.json").exists():
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    _, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, errors
    return json.loads((checkpoint / "progress.json").read_text())["step"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills as POSIX does")
def test_a_training_in_slices_survives_kills_and_journeys(
    box: Path, corpus: Path, tokenizer_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The first machine: a slice that is killed, then one that is cut short by its time.
    first, second, home = (tmp_path / name for name in ("first", "second", "home"))
    checkpoint = first / "work" / "run" / "checkpoint"
    reached = killed(
        [
            *slice_options(first, box, tokens=5.0),
            "--checkpoint-seconds",
            "0.1",
            "--slice-minutes",
            "9",
            "--workers",
            "1",
        ],
        checkpoint,
    )
    assert reached > 0
    assert slices.main([*slice_options(first, tokens=5.0), "--slice-minutes", "0.02"]) == 0
    told = said(capsys)
    assert told["step"] >= reached and 0 < told["done"] < 1
    step = told["step"]

    # What it leaves travels in several deliveries, each within its limits.
    outs = [first / "out"]
    while told["next"] is not None:
        outs.append(first / f"out{len(outs)}")
        rest = ["--first", str(told["next"]), "--max-files", "3", "--max-mib", "1"]
        assert slices.main(["more", *paths(work=first / "work", out=outs[-1]), *rest]) == 0
        told = said(capsys)
    assert len(outs) > 1
    for out in outs:
        sizes = [path.stat().st_size for path in out.iterdir()]
        assert len(sizes) <= 3 and sum(sizes) <= 1 << 20

    # A second, fresh machine lacks a delivery, then gets it, goes on and finishes.
    goes_on = [*slice_options(second, box, *outs[:-1], tokens=0.03), "--precision", "float32", "--max-files", "99"]
    assert slices.main(goes_on) == 1
    assert "missing or damaged" in capsys.readouterr().err
    million = str((json.loads((checkpoint / "progress.json").read_text())["tokens"] + 8000) / 1e6)
    ending = [*slice_options(second, outs[-1]), "--precision", "float32", "--max-files", "99", "--max-mib", "99"]
    assert slices.main([*ending, "--million-tokens", million]) == 0
    told = said(capsys)
    assert told["step"] > step and told["done"] == 1 and told["next"] is None

    # Home again: the run is what it was there, goes on, and becomes a model.
    assert slices.main(["join", "--parts", str(second / "out"), "--run", str(home / "run")]) == 0
    assert said(capsys)["step"] == told["step"]
    there, here = (
        load_file(root / "checkpoint" / "model.safetensors") for root in (second / "work" / "run", home / "run")
    )
    assert there.keys() == here.keys() and all(torch.equal(there[name], here[name]) for name in there)
    assert not load_file(home / "run" / "checkpoint" / "optimizer.safetensors"), "what is over needs no momenta"
    steps = [json.loads(line)["step"] for line in (home / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and reached <= step and step in steps
    facts = export_model(home / "run", home / "run", tokenizer_dir, home / "model")
    assert json.loads((second / "work" / "run" / "run.json").read_text())["plan"]["rate"] == 0.9
    assert facts["corpus_sha256"] == manifest.corpus_hash(corpus)


def test_a_corpus_comes_out_as_it_went_in(box: Path, corpus: Path, tokenizer_dir: Path, tmp_path: Path) -> None:
    unpack_corpus(box, tmp_path / "corpus")
    for name in ("", "heldout.jsonl.gz"):
        assert read_corpus(tmp_path / "corpus" / name) == read_corpus(corpus / name)
    assert manifest.read(tmp_path / "corpus" / "manifest.json") == manifest.read(corpus / "manifest.json")
    parts = sorted(path for path in box.iterdir() if path.name.startswith("train."))
    assert len(parts) > 3 and all(path.stat().st_size <= 0.004 * (1 << 20) for path in parts if path.suffix != ".json")
    before = {path: path.stat().st_mtime_ns for path in parts}
    pack_corpus(corpus, tokenizer_dir, box, 10**6)
    assert {path: path.stat().st_mtime_ns for path in parts} == before, "packed once"


# --- parts ----------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 1000])
def test_parts_join_to_the_whole(tmp_path: Path, size: int) -> None:
    whole, folder, other = tmp_path / "whole", tmp_path / "parts", tmp_path / "other"
    whole.write_bytes(bytes(number % 251 for number in range(size)))
    made = split(whole, folder, "thing", 100, {"fact": 1})
    assert len(made) == 1 + -(-size // 100)
    collect([folder], other)
    assert join(other, "thing", tmp_path / "back")["fact"] == 1
    assert (tmp_path / "back").read_bytes() == whole.read_bytes()
    assert len(split(whole, folder, "thing", 1000, {})) == len(list(folder.iterdir())), "old parts are gone"


def test_missing_and_damaged_parts_are_named(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "parts"
    with pytest.raises(TrainError, match=r"thing\.json"):
        join(folder, "thing", whole)
    whole.write_bytes(bytes(300))
    paths = split(whole, folder, "thing", 100, {})
    paths[1].unlink()
    paths[3].write_bytes(b"x" * 100)
    with pytest.raises(TrainError) as raised:
        join(folder, "thing", tmp_path / "back")
    assert paths[1].name in str(raised.value) and paths[3].name in str(raised.value)
    assert paths[2].name not in str(raised.value) and not (tmp_path / "back").exists()
    with pytest.raises(TrainError, match="no folder"):
        collect([tmp_path / "nowhere"], folder)


def test_as_many_parts_travel_as_may(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.write_bytes(bytes(1000))
    made = split(whole, tmp_path / "parts", "thing", 100, {})
    statement = made[0].stat().st_size
    assert select(made, 0, 4, 10**6) == made[:4]
    assert select(made, 3, 4, 10**6) == [made[0], *made[4:7]]
    assert select(made, 0, 99, statement + 250) == made[:3]
    assert select(made, 8, 99, 10**6) == [made[0], *made[9:]]


# --- runs and installed packages ------------------------------------------------


def test_a_packed_run_keeps_counters_exact(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    save_file({"w": torch.randn(4, 4)}, run / "checkpoint" / "model.safetensors")
    state = {"1.0.step": torch.tensor(12345.0), "0.0.momentum": torch.randn(4, 4)}
    save_file(state, run / "checkpoint" / "optimizer.safetensors")
    with pytest.raises(TrainError, match="no checkpoint"):
        pack_run(run, tmp_path / "whole", torch.bfloat16)
    (run / "checkpoint" / "progress.json").write_text('{"step": 7}')
    for dtype in (torch.bfloat16, torch.float32):
        pack_run(run, tmp_path / "whole", dtype)
        unpack_run(tmp_path / "whole", tmp_path / str(dtype))
        back = load_file(tmp_path / str(dtype) / "checkpoint" / "optimizer.safetensors")
        assert back["1.0.step"] == 12345 and back["0.0.momentum"].dtype == torch.float32
        torch.testing.assert_close(back["0.0.momentum"], state["0.0.momentum"].to(dtype).float())
    assert (tmp_path / str(dtype) / "checkpoint" / "progress.json").read_text() == '{"step": 7}'


def test_a_run_that_came_home_goes_on(
    box: Path, corpus: Path, tokenizer_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*slice_options(tmp_path, box, tokens=0.005), "--max-mib", "9", "--max-files", "9"]
    assert slices.main(given) == 0
    told = said(capsys)
    assert told["done"] == 1
    assert slices.main(["join", "--parts", str(tmp_path / "out"), "--run", str(tmp_path / "run")]) == 0
    assert said(capsys)["step"] == told["step"]
    went_on = train_base(Plan(corpus, tokenizer_dir, tmp_path / "run", "toy", million_tokens=0.01, rate=0.9))
    assert went_on["step"] > told["step"] and went_on["loss"] < told["loss"]
    before = (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert slices.main(["join", "--parts", str(tmp_path / "out"), "--run", str(tmp_path / "run")]) == 1
    assert f"{went_on['step'] - told['step']} steps further than these parts; give another" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint" / "model.safetensors").read_bytes() == before


def test_the_last_slice_leaves_a_run_that_is_over(
    box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*slice_options(tmp_path, box, tokens=50.0), "--max-mib", "9", "--max-files", "9"]
    assert slices.main([*given, "--slice-minutes", "0.05"]) == 0
    unfinished = said(capsys)
    momenta = manifest.read(tmp_path / "out" / "state.json")
    assert slices.main([*given, "--slice-minutes", "0.1", "--last"]) == 0
    told, weights = said(capsys), manifest.read(tmp_path / "out" / "state.json")
    assert unfinished["done"] < 0.5 and told["done"] == 1 and told["step"] > unfinished["step"] > 0
    assert momenta is not None and weights is not None and weights["bytes"] < 0.7 * momenta["bytes"]


def test_two_slices_do_not_share_a_folder(box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with alone(tmp_path / "work"):
        assert slices.main(slice_options(tmp_path, box)) == 1
    assert "Another command writes" in capsys.readouterr().err and not (tmp_path / "work" / "box").exists()


@pytest.mark.parametrize(
    "wrong",
    ["--part-mib 0", "--part-mib -1", "--workers -1", "--threads 0", "--minutes -1", "--slice-minutes nan", "--rate x"],
)
def test_numbers_out_of_range_are_wrong_usage(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        slices.main(["train", "--out", "out", *wrong.split()])
    assert ended.value.code == 2 and wrong.split()[0] in capsys.readouterr().err


def test_installed_packages_are_added_by_the_same_rules(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "corpus"
    collect([corpus], mine)
    texts = dict(read_corpus(corpus))
    held_out = dict(read_corpus(corpus / "heldout.jsonl.gz"))["queue.py"]
    fresh = "".join(f"def fresh_{n}(value):\n    return value + fresh_constant_{n}\n\n\n" for n in "abcdefgh")

    def file(path: str, text: str, held: bool = False) -> SourceFile:
        return SourceFile("lib==1.0", "MIT", path, text, held)

    found = [
        file("lib/fresh.py", fresh),
        file("lib/copied.py", texts["bisect.py"]),
        file("lib/hidden.py", held_out),
        file("lib/_vendor/fresh.py", fresh + "# copied\n"),
        file("heapq.py", fresh.replace("fresh", "kept_apart"), held=True),
    ]
    monkeypatch.setattr(installed, "installed_files", lambda: found)
    added = installed.add_installed(mine, 10**6)
    assert added["files"] == 1 and added["dropped"] == {"path": 1, "near-duplicate": 2}
    assert added["sources"] == [{"source": "lib==1.0", "license": "MIT", "files": 1, "bytes": len(fresh)}]
    assert dict(read_corpus(mine)) == texts | {"lib/fresh.py": fresh}
    assert manifest.corpus_hash(mine) != manifest.corpus_hash(corpus)
    monkeypatch.setattr(installed, "installed_files", lambda: pytest.fail("added once"))
    assert installed.add_installed(mine, 10**6) == added


def test_a_kill_while_installed_packages_are_added_loses_no_licence(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "corpus"
    collect([corpus], mine)
    fresh = "".join(f"def fresh_{n}(value):\n    return value + fresh_constant_{n}\n\n\n" for n in "abcdefgh")
    monkeypatch.setattr(installed, "installed_files", lambda: [SourceFile("lib==1.0", "MIT", "a.py", fresh, False)])
    write, replace = manifest.write, Path.replace

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    def killed_at_the_text(path: Path, target: Path) -> Path:
        return killed() if path.name == "train.new.jsonl.gz" else replace(path, target)  # type: ignore[return-value]

    for where, name, broken in ((manifest, "write", killed), (Path, "replace", killed_at_the_text)):
        with monkeypatch.context() as patch:
            patch.setattr(where, name, broken)
            with pytest.raises(KeyboardInterrupt):
                installed.add_installed(mine, 10**6)
    assert manifest.write is write
    added = installed.add_installed(mine, 10**6)
    assert [source["license"] for source in added["sources"]] == ["MIT"]
    assert dict(read_corpus(mine))["a.py"] == fresh
    lines = gzip.decompress((mine / "train.jsonl.gz").read_bytes())
    assert sha256(lines).hexdigest() == manifest.corpus_hash(mine)


def test_failures_are_one_sentence(box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty, damaged = tmp_path / "empty", tmp_path / "damaged"
    empty.mkdir()
    (damaged / "work" / "box").mkdir(parents=True)
    (damaged / "work" / "box" / "state.json").write_text('{"bytes": ')
    given: list[list[str]] = [
        ["pack", *paths(corpus=empty, tokenizer=empty, out=tmp_path / "box")],
        [*slice_options(tmp_path, empty)],
        ["more", *paths(work=empty, out=tmp_path / "out"), "--first", "0"],
        ["join", "--parts", str(empty), "--run", str(tmp_path / "run")],
        [*slice_options(tmp_path / "other", box), "--device", "nowhere"],
        [*slice_options(damaged, box)],
    ]
    for arguments in given:
        assert slices.main(arguments) == 1
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_limits_under_which_nothing_would_ever_travel_are_refused(
    box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*slice_options(tmp_path, box), "--slice-minutes", "0"]
    assert slices.main([*given, "--max-files", "1"]) == 1
    assert "Not one part may travel" in capsys.readouterr().err
    more = ["more", *paths(work=tmp_path / "work", out=tmp_path / "out"), "--first"]
    assert slices.main([*more, "0", "--max-mib", "0.01"]) == 1
    assert "Not one part may travel" in capsys.readouterr().err
    assert slices.main([*more, "999", "--max-files", "1"]) == 0, "none is left to travel"


def test_ctrl_c_ends_a_slice_quietly(
    box: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slices, "train_base", interrupted)
    assert slices.main(slice_options(tmp_path, box)) == 130
    assert capsys.readouterr().err == ""

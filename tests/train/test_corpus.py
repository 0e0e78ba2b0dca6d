"""The corpus: who may enter, who is held out, and what is written. Nothing is fetched."""

from __future__ import annotations

import gzip
import json
import zipfile
from email.message import Message
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pass_lsp.errors import TrainError
from pass_lsp.train import corpus
from pass_lsp.train.corpus import HELD_OUT_MODULES, build_corpus, package_list, read_corpus
from pass_lsp.train.filters import Benchmarks, permissive


def code(name: str, count: int = 6) -> str:
    """A file that every filter lets through, unlike that of any other name."""
    return "".join(
        f"def {name}_{letter}(value):\n    return value + {name}_{letter}_constant\n\n\n"
        for letter in "abcdefgh"[:count]
    )


class Installed:
    """A package of the environment, with `importlib.metadata`'s face."""

    def __init__(self, root: Path, name: str, files: dict[str, str], **fields: str | list[str]) -> None:
        self.version = "1.0"
        self.metadata = Message()
        self.metadata["Name"] = name
        for key, values in fields.items():
            for value in [values] if isinstance(values, str) else values:
                self.metadata[key.replace("_", "-")] = value
        self.files = [InstalledFile(root / name / path, text) for path, text in files.items()]


class InstalledFile:
    """A file of an installed package."""

    def __init__(self, path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.suffix, self._path = path.suffix, path

    def __str__(self) -> str:
        return self._path.name

    def locate(self) -> Path:
        return self._path


MIT = {"License_Expression": "MIT"}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a tiny standard library, two wheels and four packages; returns the wheels' folder."""
    stdlib, wheels, site = (tmp_path / name for name in ("stdlib", "wheels", "site"))
    wheels.mkdir()
    modules = ("heapq.py", "bisect.py", "package/heapq.py", "test/test_bisect.py", "test/test_heapq.py")
    for path in (*modules, "site-packages/other/module.py"):
        (stdlib / path).parent.mkdir(parents=True, exist_ok=True)
        (stdlib / path).write_text(code("stdlib_" + path.replace("/", "_").removesuffix(".py").replace("-", "_")))
    for name, extra in (("open_one", "wheel_one"), ("kept_apart", "wheel_two"), ("not_listed", "wheel_three")):
        with zipfile.ZipFile(wheels / f"{name}-1.0-py3-none-any.whl", "w") as archive:
            archive.writestr(f"{name}/module.py", code(extra))
            archive.writestr(f"{name}/readme.txt", "text")
    listed = [
        {"name": "open-one", "version": "1.0", "license": "MIT", "held_out": False},
        {"name": "kept-apart", "version": "1.0", "license": "BSD-3-Clause", "held_out": True},
    ]
    installed = [
        Installed(site, "Good_Package", {"good.py": code("good"), "data.txt": "no"}, **MIT),
        Installed(
            site, "copyleft", {"bad.py": code("bad")}, Classifier="License :: OSI Approved :: GNU GPL v3 (GPLv3)"
        ),
        Installed(site, "silent", {"silent.py": code("silent")}),
        Installed(site, "open_one", {"again.py": code("again")}, **MIT),
        Installed(site, "pass-lsp", {"own.py": code("own")}, **MIT),
    ]
    monkeypatch.setattr(corpus, "_download", lambda wheels: None)
    monkeypatch.setattr(corpus, "package_list", lambda: listed)
    monkeypatch.setattr(corpus.sysconfig, "get_paths", lambda: {"stdlib": str(stdlib)})
    monkeypatch.setattr(corpus, "metadata", SimpleNamespace(distributions=lambda: installed))
    monkeypatch.setattr(corpus, "Benchmarks", lambda: SimpleNamespace(leaks=lambda text: "benchmark_problem" in text))
    return wheels


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def built(
    wheels: Path, name: str = "out", cap: int = 10**6, seed: int = 0, workers: int = 1
) -> tuple[Path, dict[str, Any]]:
    out = wheels.parent / name
    manifest: dict[str, Any] = build_corpus(out, wheels, cap, seed, workers)
    return out, manifest


def test_permissive_sources_are_split_into_train_and_held_out(machine: Path) -> None:
    out, _ = built(machine)
    train = {(row["source"], row["path"]) for row in rows(out / "train.jsonl.gz")}
    heldout = {(row["source"], row["path"]) for row in rows(out / "heldout.jsonl.gz")}
    assert train == {
        ("python", "bisect.py"),
        ("python", "package/heapq.py"),  # held out is the module heapq, not whatever is called so
        ("python", "test/test_bisect.py"),
        ("open-one", "open_one/module.py"),
        ("good-package==1.0", "good.py"),
    }
    assert heldout == {("python", "heapq.py"), ("kept-apart", "kept_apart/module.py")}


def test_the_manifest_states_what_was_written(machine: Path) -> None:
    out, manifest = built(machine)
    assert json.loads((out / "manifest.json").read_text()) == manifest
    assert manifest["held_out_modules"] == sorted(HELD_OUT_MODULES)
    assert manifest["dropped"] == {"path": 1}
    for name in ("train", "heldout"):
        lines = gzip.decompress((out / f"{name}.jsonl.gz").read_bytes())
        facts = manifest[name]
        texts = [json.loads(line)["text"] for line in lines.splitlines()]
        assert facts == {"files": len(texts), "bytes": sum(map(len, texts)), "sha256": sha256(lines).hexdigest()}
    sources = {row["source"]: row for row in manifest["sources"]}
    assert {name: row["license"] for name, row in sources.items()} == {
        "python": "PSF-2.0",
        "open-one": "MIT",
        "kept-apart": "BSD-3-Clause",
        "good-package==1.0": "MIT",
    }
    assert sources["python"]["files"] == 4


def test_the_same_seed_writes_the_same_corpus(machine: Path) -> None:
    digests = [built(machine, name, seed=seed)[1]["train"]["sha256"] for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert digests[0] == digests[1] != digests[2]


def test_whatever_resembles_held_out_text_is_the_duplicate(machine: Path) -> None:
    stdlib = machine.parent / "stdlib"
    (stdlib / "copy_of_heapq.py").write_text((stdlib / "heapq.py").read_text())
    for seed in range(4):
        out, manifest = built(machine, f"out{seed}", seed=seed)
        assert manifest["dropped"]["near-duplicate"] == 1
        assert "copy_of_heapq.py" not in {path for path, _ in read_corpus(out)}
        assert "heapq.py" in {path for path, _ in read_corpus(out / "heldout.jsonl.gz")}


def test_benchmarks_and_bad_texts_are_dropped_and_counted(machine: Path) -> None:
    stdlib = machine.parent / "stdlib"
    (stdlib / "leak.py").write_text(code("leak") + "benchmark_problem = 1\n")
    (stdlib / "broken.py").write_text(code("broken") + "def f(:\n")
    (stdlib / "short.py").write_text("x = 1\n")
    _, manifest = built(machine)
    assert manifest["dropped"] == {"path": 1, "benchmark": 1, "syntax": 1, "size": 1}


def test_no_source_brings_more_than_its_cap(machine: Path) -> None:
    stdlib = machine.parent / "stdlib"
    for number in range(8):
        (stdlib / f"more_{number}.py").write_text(code(f"more_{number}"))
    size = len(code("more_0"))
    _, manifest = built(machine, cap=3 * size)
    python = next(row for row in manifest["sources"] if row["source"] == "python")
    assert 3 * size <= python["bytes"] < 4 * size + 200
    assert manifest["dropped"]["source-cap"] > 0


def test_tests_are_at_most_a_share_of_what_a_source_may_bring(machine: Path) -> None:
    stdlib = machine.parent / "stdlib"
    for number in range(8):
        (stdlib / "test" / f"test_more_{number}.py").write_text(code(f"test_more_{number}"))
    size = len(code("test_more_0"))
    out, manifest = built(machine, cap=8 * size)
    tests = sum(len(text) for path, text in read_corpus(out) if path.startswith("test/"))
    assert 2 * size <= tests < 3 * size + 200
    assert manifest["dropped"]["source-cap"] > 0


def test_a_corpus_that_exists_is_left_alone(machine: Path) -> None:
    out, first = built(machine)
    before = (out / "train.jsonl.gz").stat().st_mtime_ns
    (machine.parent / "stdlib" / "new.py").write_text(code("new"))
    assert built(machine)[1] == first
    assert (out / "train.jsonl.gz").stat().st_mtime_ns == before


def test_a_corpus_made_with_other_options_is_refused(machine: Path) -> None:
    out, manifest = built(machine)
    assert (manifest["source_cap"], manifest["seed"]) == (10**6, 0)
    for cap, seed in ((10**5, 0), (10**6, 1)):
        with pytest.raises(TrainError, match="same inputs"):
            build_corpus(out, machine, cap, seed)


def test_an_earlier_manifest_gets_the_second_look_at_duplicates(machine: Path) -> None:
    out, first = built(machine)
    earlier = {key: value for key, value in first.items() if key not in ("overlap", "source_cap", "seed", "wheels")}
    (out / "manifest.json").write_text(json.dumps(earlier))
    assert built(machine)[1]["overlap"] == first["overlap"] == {"heldout_in_train": 0.0, "train_in_several": 0.0}
    assert "overlap" in json.loads((out / "manifest.json").read_text())


def test_the_manifest_names_its_wheels_by_hash(machine: Path) -> None:
    _, manifest = built(machine)
    assert manifest["wheels"] == {
        name: sha256((machine / name).read_bytes()).hexdigest()
        for name in ("kept_apart-1.0-py3-none-any.whl", "open_one-1.0-py3-none-any.whl")
    }


def test_a_corpus_does_not_depend_on_how_many_judge_it(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdlib = machine.parent / "stdlib"
    (stdlib / "short.py").write_text("x = 1\n")
    _, alone = built(machine, "alone")
    monkeypatch.setattr(corpus, "Benchmarks", Benchmarks)  # the judging processes know no scripted one
    _, together = built(machine, "together", workers=2)
    assert together == alone and alone["dropped"]["size"] == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"License-Expression": ["MIT"], "Classifier": ["License :: OSI Approved :: GPL"]}, "MIT"),
        ({"Classifier": ["License :: OSI Approved :: BSD License", "Topic :: Text"]}, "BSD License"),
        ({"Classifier": ["License :: A :: MIT License", "License :: B :: GPL"]}, "MIT License, GPL"),
        ({"License": ["MIT\nPermission is hereby granted"]}, "MIT"),
        ({"License": ["x" * 100]}, "x" * 60),
        ({}, ""),
    ],
    ids=range(6),
)
def test_where_a_licence_is_stated(fields: dict[str, list[str]], expected: str) -> None:
    info: Any = SimpleNamespace(get_all=lambda name: fields.get(name))
    assert corpus._license(info) == expected


def test_the_reviewed_packages_are_permissive_pinned_and_partly_held_out() -> None:
    packages = package_list()
    assert all(permissive(str(package["license"])) for package in packages)
    assert all(str(package["name"]) == str(package["name"]).lower() and package["version"] for package in packages)
    assert len({package["name"] for package in packages}) == len(packages)
    assert {package["held_out"] for package in packages} == {True, False}


def test_pip_is_asked_for_what_is_missing_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"name": "a-b", "version": "1.0"}, {"name": "c", "version": "2.0"}]
    asked: list[list[str]] = []

    def run(command: list[str], check: bool) -> SimpleNamespace:
        asked.append(command)
        return SimpleNamespace(returncode=1)

    monkeypatch.setattr(corpus, "package_list", lambda: listed)
    monkeypatch.setattr(corpus.subprocess, "run", run)
    whole = zipped(tmp_path / "a_b-1.0-py3-none-any.whl")
    with pytest.raises(TrainError, match="network"):
        corpus._download(tmp_path)
    assert asked[0][-1] == "c==2.0" and "a-b==1.0" not in asked[0]
    zipped(tmp_path / "c-2.0-cp311-abi3-linux_x86_64.whl")
    corpus._download(tmp_path)
    assert len(asked) == 1

    # What a kill of pip left of a wheel: pip would take it for a whole one.
    whole.write_bytes(whole.read_bytes()[:-10])
    with pytest.raises(TrainError, match=r"a-b==1\.0"):
        corpus._download(tmp_path)
    assert len(asked) == 2 and not whole.exists()


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("module.py", "x = 1\n")
    return path


def test_packages_that_a_killed_pip_left_without_a_name_are_passed_over(machine: Path) -> None:
    nameless = Installed(machine.parent / "site", "nameless", {"module.py": code("nameless")}, **MIT)
    del nameless.metadata["Name"]
    installed = [*corpus.metadata.distributions(), nameless]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus.metadata, "distributions", lambda: installed)
        _, facts = built(machine, "with it")
    _, without = built(machine, "without it")
    assert facts == without


# --- reading ------------------------------------------------------------------


def test_read_corpus_takes_a_corpus_a_file_of_it_or_any_folder(machine: Path) -> None:
    out, _ = built(machine)
    assert read_corpus(out) == read_corpus(out / "train.jsonl.gz")
    found = read_corpus(machine.parent / "stdlib")
    assert [path for path, _ in found] == sorted(path for path, _ in found)
    assert ("bisect.py", code("stdlib_bisect")) in found
    (machine.parent / "stdlib" / "folder.py").mkdir()
    (machine.parent / "stdlib" / "gone.py").symlink_to(machine / "nowhere.py")
    assert read_corpus(machine.parent / "stdlib") == found, "what is no file is passed over"


def test_read_corpus_explains_what_it_cannot_read(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl.gz"
    empty = tmp_path / "empty"
    empty.mkdir()
    for content in (
        b"no gzip",
        gzip.compress(b"no json\n"),
        gzip.compress(b'{"path": "x"}\n'),
        gzip.compress(b"x" * 99)[:20],
    ):
        bad.write_bytes(content)
        with pytest.raises(TrainError, match="train corpus"):
            read_corpus(bad)
    for path in (empty, tmp_path / "nowhere"):
        with pytest.raises(TrainError, match="train corpus"):
            read_corpus(path)

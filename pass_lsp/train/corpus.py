"""Step 1, `train corpus`: Python source that every machine can get, filtered and split.

Three sources: the standard library, the permissively licensed packages of the
running environment, and the wheels named in `packages.json`. Some modules and
whole packages are held out by name; anything that resembles them is dropped.
Writes `train.jsonl.gz`, `heldout.jsonl.gz` (one JSON object per file: source,
path, text) and, last of all, `manifest.json`. Wheels that are there are not
fetched again; a corpus that is there is left alone, and refused if it was made
with other options.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import random
import re
import subprocess
import sys
import sysconfig
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata, resources
from pathlib import Path

from tqdm import tqdm

from pass_lsp.errors import TrainError
from pass_lsp.train import manifest
from pass_lsp.train.filters import Benchmarks, NearDuplicates, is_test, permissive, unwanted_path, unwanted_text
from pass_lsp.train.overlap import overlap
from pass_lsp.train.signals import uninterrupted

HELD_OUT_MODULES = frozenset({"heapq.py", "argparse.py", "textwrap.py", "sched.py", "configparser.py", "queue.py"})
"""Standard library modules that no model here is trained on; demo, tests and benchmarks cut their holes there."""
TEST_SHARE = 0.25
"""What of a source's cap its tests may fill: people write them too, but large libraries have more tests than code."""
SPLIT = (("train", False), ("heldout", True))


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the corpus, and the package and licence it came with."""

    source: str
    license: str
    path: str
    text: str
    held_out: bool


def build_corpus(out: Path, wheels: Path, source_cap: int, seed: int = 0, workers: int = 1) -> dict[str, object]:
    """Collect, filter, split and write; returns the manifest.

    `source_cap` bounds each source, in bytes. `workers` processes judge the files; what comes
    out does not depend on their number.
    """
    out.mkdir(parents=True, exist_ok=True)
    options = {"source_cap": source_cap, "seed": seed}
    if made := manifest.read(out / "manifest.json"):
        manifest.same_inputs(out / "manifest.json", options)
        return _with_overlap(out, made)
    _download(wheels)
    files = [*_standard_library(), *_wheels(wheels), *_environment()]
    kept, dropped = filter_files(files, source_cap, random.Random(seed), workers=workers)
    facts: dict[str, object] = {
        "python": sys.version.split()[0],
        **options,
        "held_out_modules": sorted(HELD_OUT_MODULES),
        "wheels": {path.name: manifest.file_hash(path) for path in sorted(wheels.glob("*.whl")) if _is_listed(path)},
        "dropped": dict(dropped),
        "sources": summary(kept),
    }
    parts = {name: [file for file in kept if file.held_out == held_out] for name, held_out in SPLIT}
    for name, part in parts.items():
        facts[name] = write_files(out / f"{name}.jsonl.gz", part)
    manifest.write(out / "manifest.json", facts)
    return _with_overlap(out, facts)


def _with_overlap(out: Path, facts: dict[str, object]) -> dict[str, object]:
    """The manifest with what near-duplicate removal has left; measured once."""
    if "overlap" not in facts:
        texts = ([text for _, text in read_corpus(out / f"{name}.jsonl.gz")] for name, _ in SPLIT)
        facts["overlap"] = overlap(*texts)
        manifest.write(out / "manifest.json", facts)
    return facts


def read_corpus(path: Path) -> list[tuple[str, str]]:
    """(path, text) of every file in a `.jsonl.gz` of the corpus, or of every `.py` below a folder."""
    if path.is_dir() and not (path / "train.jsonl.gz").exists():
        files = [file for file in sorted(path.rglob("*.py")) if file.is_file()]
        found = [(str(file.relative_to(path)), file.read_text("utf-8", "replace")) for file in files]
        if not found:
            raise TrainError(f"{path} holds neither train.jsonl.gz nor Python; run `pass-lsp train corpus` first.")
        return found
    if path.is_dir():
        path = path / "train.jsonl.gz"
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [(row["path"], row["text"]) for row in map(json.loads, lines)]
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise TrainError(f"Cannot read the corpus {path} ({error}); run `pass-lsp train corpus` first.") from error


def package_list() -> list[dict[str, object]]:
    """The reviewed packages: name, version, licence, held out or not."""
    return json.loads(resources.files("pass_lsp.train").joinpath("packages.json").read_text())


def installed_files() -> list[SourceFile]:
    """What this Python has installed: its standard library, and its permissively licensed packages."""
    return [*_standard_library(), *_environment()]


def _download(wheels: Path) -> None:
    wheels.mkdir(parents=True, exist_ok=True)
    for path in wheels.glob("*.whl"):
        if not zipfile.is_zipfile(path):  # pip was killed while it wrote this, and would take it for whole
            path.unlink()
    have = {_wheel_key(path) for path in wheels.glob("*.whl")}
    missing = [f"{p['name']}=={p['version']}" for p in package_list() if (p["name"], p["version"]) not in have]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
    # One by one, so that what has come stays when the network goes.
    for package in tqdm(missing, desc="wheels", unit="wheel", disable=not missing):
        if subprocess.run([*command, package], check=False).returncode:
            raise TrainError(f"pip could not download {package} into {wheels}; check the network and run again.")


def _is_listed(wheel: Path) -> bool:
    return _wheel_key(wheel) in {(str(p["name"]), str(p["version"])) for p in package_list()}


def _wheel_key(path: Path) -> tuple[str, str]:
    name, version, *_ = path.name.split("-")
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _standard_library() -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        if relative.startswith(("site-packages/", "dist-packages/")):
            continue
        subject = path.name.removeprefix("test_") if is_test(relative) else relative
        yield SourceFile("python", "PSF-2.0", relative, _read(path), subject in HELD_OUT_MODULES)


def _wheels(folder: Path) -> Iterator[SourceFile]:
    listed = {(str(p["name"]), str(p["version"])): p for p in package_list()}
    for wheel in sorted(folder.glob("*.whl")):
        package = listed.get(_wheel_key(wheel))
        if package is None:
            continue
        with zipfile.ZipFile(wheel) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".py"):
                    text = archive.read(name).decode("utf-8", "replace")
                    yield SourceFile(
                        str(package["name"]), str(package["license"]), name, text, bool(package["held_out"])
                    )


def _environment() -> Iterator[SourceFile]:
    listed = {str(p["name"]) for p in package_list()} | {"pass-lsp"}
    named = [dist for dist in metadata.distributions() if "Name" in dist.metadata]  # a killed pip leaves others
    for dist in sorted(named, key=lambda d: d.metadata["Name"].lower()):
        name = re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower()
        license_text = _license(dist.metadata)
        if name in listed or not permissive(license_text):
            continue
        for file in dist.files or ():
            if file.suffix == ".py":
                text = _read(Path(str(file.locate())))
                yield SourceFile(f"{name}=={dist.version}", license_text, str(file), text, False)


def _license(info: metadata.PackageMetadata) -> str:
    def field(name: str) -> list[str]:
        return info.get_all(name) or []

    classifiers = [c.rsplit(" :: ", 1)[-1] for c in field("Classifier") if c.startswith("License ::")]
    stated = "".join(field("License-Expression")) or ", ".join(classifiers)
    return stated or "".join(field("License")).split("\n")[0][:60]


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


Judge = Callable[[int], tuple[str | None, bool]]
"""The number of a file → why its text is unwanted, and whether it holds a benchmark."""


def filter_files(
    files: list[SourceFile],
    source_cap: int,
    rng: random.Random,
    duplicates: NearDuplicates | None = None,
    workers: int = 1,
) -> tuple[list[SourceFile], Counter[str]]:
    """The files worth learning from, in random order, and how many were dropped for which reason.

    `duplicates` may know other files already, whose near-duplicates then go too. Tests of what is
    held out are neither learnt from nor asked about.
    """
    # Held-out files go first, so that whatever resembles them counts as the duplicate.
    rng.shuffle(files)
    files.sort(key=lambda file: not file.held_out)
    judge, duplicates = _judge(files, workers), duplicates or NearDuplicates()
    sizes: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    kept: list[SourceFile] = []
    for number, file in enumerate(tqdm(files, desc="corpus", unit="file")):
        test = is_test(file.path)
        full = sizes[file.source] >= source_cap or (test and tests[file.source] >= source_cap * TEST_SHARE)
        why = _refuse(file, test, full, duplicates, judge, number)
        if why:
            dropped[why] += 1
            continue
        sizes[file.source] += len(file.text)
        tests[file.source] += len(file.text) * test
        kept.append(file)
    return kept, dropped


def _refuse(
    file: SourceFile, test: bool, full: bool, duplicates: NearDuplicates, judge: Judge, number: int
) -> str | None:
    if unwanted_path(file.path) or (test and file.held_out):
        return "path"
    if full:
        return "source-cap"
    why, leaks = judge(number)
    if why:
        return why
    if duplicates.add(file.text, file.held_out):
        return "near-duplicate"
    return "benchmark" if leaks else None


def _judge(files: list[SourceFile], workers: int) -> Judge:
    """Judge when asked, or all beforehand by several processes: hashing 10-grams takes most of the time."""
    benchmarks = Benchmarks()
    if workers <= 1:
        return lambda number: _verdict(files[number].text, benchmarks)
    wanted = {number: file.text for number, file in enumerate(files) if not unwanted_path(file.path)}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_load_benchmarks) as pool:
        with uninterrupted():
            judged = pool.map(_verdict, wanted.values(), chunksize=32)
        found = tqdm(judged, desc="judging", total=len(wanted), unit="file")
        return dict(zip(wanted, found, strict=True)).__getitem__


_benchmarks: Benchmarks | None = None
"""What a judging process has loaded."""


def _load_benchmarks() -> None:
    global _benchmarks
    _benchmarks = Benchmarks()


def _verdict(text: str, benchmarks: Benchmarks | None = None) -> tuple[str | None, bool]:
    why, table = unwanted_text(text), benchmarks or _benchmarks
    assert table is not None, "a judging process loads its table first"
    return why, why is None and table.leaks(text)


def summary(kept: list[SourceFile]) -> list[dict[str, object]]:
    """Name, licence, files and characters of every source, by name."""
    rows: dict[str, dict[str, object]] = {}
    for file in kept:
        row = rows.setdefault(file.source, {"source": file.source, "license": file.license, "files": 0, "bytes": 0})
        row["files"] = int(str(row["files"])) + 1
        row["bytes"] = int(str(row["bytes"])) + len(file.text)
    return [rows[name] for name in sorted(rows)]


def write_files(path: Path, files: list[SourceFile]) -> dict[str, object]:
    """Write a part of a corpus; returns its counts and the hash of its uncompressed lines."""
    digest = sha256()
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as out:
        for file in files:
            line = json.dumps({"source": file.source, "path": file.path, "text": file.text}) + "\n"
            digest.update(line.encode())
            out.write(line)
    return {"files": len(files), "bytes": sum(len(file.text) for file in files), "sha256": digest.hexdigest()}

"""Step 1, `train corpus`: Python source that every machine can get, filtered and split.

Three sources: the standard library, the permissively licensed packages of the
running environment, and the wheels named in `packages.json`. Some modules and
whole packages are held out by name; anything that resembles them is dropped.
Writes `train.jsonl.gz`, `heldout.jsonl.gz` (one JSON object per file: source,
path, text) and `manifest.json`.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import subprocess
import sys
import sysconfig
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata, resources
from pathlib import Path

from tqdm import tqdm

from pass_lsp.errors import TrainError
from pass_lsp.train.filters import Benchmarks, NearDuplicates, permissive, unwanted_path, unwanted_text

HELD_OUT_MODULES = frozenset({"heapq.py", "argparse.py", "textwrap.py", "sched.py", "configparser.py", "queue.py"})
"""Standard library modules that no model here is trained on; demo, tests and benchmarks cut their holes there."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of the corpus, and the package and licence it came with."""

    source: str
    license: str
    path: str
    text: str
    held_out: bool


def build_corpus(out: Path, wheels: Path, source_cap: int, seed: int = 0) -> dict[str, object]:
    """Collect, filter, split and write; returns the manifest. `source_cap` bounds each source, in bytes."""
    out.mkdir(parents=True, exist_ok=True)
    manifest_path = out / "manifest.json"
    if manifest_path.exists():
        return json.loads(manifest_path.read_text())
    _download(wheels)
    files = [*_standard_library(), *_wheels(wheels), *_environment()]
    kept, dropped = _filter(files, source_cap, random.Random(seed))
    manifest: dict[str, object] = {
        "python": sys.version.split()[0],
        "held_out_modules": sorted(HELD_OUT_MODULES),
        "dropped": dict(dropped),
        "sources": _summary(kept),
    }
    for name, held_out in (("train", False), ("heldout", True)):
        part = [file for file in kept if file.held_out == held_out]
        manifest[name] = _write(out / f"{name}.jsonl.gz", part)
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def read_corpus(path: Path) -> list[tuple[str, str]]:
    """(path, text) of every file in a `.jsonl.gz` of the corpus, or of every `.py` below a folder."""
    if path.is_dir() and not (path / "train.jsonl.gz").exists():
        found = [(str(p.relative_to(path)), p.read_text("utf-8", "replace")) for p in sorted(path.rglob("*.py"))]
        if not found:
            raise TrainError(
                f"{path} holds neither train.jsonl.gz nor Python files; run `pass-lsp train corpus` first."
            )
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


def _download(wheels: Path) -> None:
    wheels.mkdir(parents=True, exist_ok=True)
    have = {_wheel_key(path) for path in wheels.glob("*.whl")}
    missing = [f"{p['name']}=={p['version']}" for p in package_list() if (p["name"], p["version"]) not in have]
    if missing:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", str(wheels)]
        if subprocess.run([*command, *missing], check=False).returncode:
            raise TrainError(
                f"pip could not download the corpus packages into {wheels}; check the network and run again."
            )


def _wheel_key(path: Path) -> tuple[str, str]:
    name, version, *_ = path.name.split("-")
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _standard_library() -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root).as_posix()
        if relative.startswith(("site-packages/", "dist-packages/")):
            continue
        yield SourceFile("python", "PSF-2.0", relative, _read(path), relative in HELD_OUT_MODULES)


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
    for dist in sorted(metadata.distributions(), key=lambda d: d.metadata["Name"].lower()):
        name = re.sub(r"[-_.]+", "-", dist.metadata["Name"]).lower()
        license_text = _license(dist.metadata)
        if name in listed or not permissive(license_text):
            continue
        for file in dist.files or ():
            if file.suffix == ".py":
                yield SourceFile(
                    f"{name}=={dist.version}", license_text, str(file), _read(Path(str(file.locate()))), False
                )


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


def _filter(files: list[SourceFile], source_cap: int, rng: random.Random) -> tuple[list[SourceFile], Counter[str]]:
    # Held-out files go first, so that whatever resembles them counts as the duplicate.
    rng.shuffle(files)
    files.sort(key=lambda file: not file.held_out)
    duplicates, benchmarks = NearDuplicates(), Benchmarks()
    sizes: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    kept: list[SourceFile] = []
    for file in tqdm(files, desc="corpus", unit="file"):
        why = _refuse(file, sizes[file.source] >= source_cap, duplicates, benchmarks)
        if why:
            dropped[why] += 1
            continue
        sizes[file.source] += len(file.text)
        kept.append(file)
    return kept, dropped


def _refuse(file: SourceFile, full: bool, duplicates: NearDuplicates, benchmarks: Benchmarks) -> str | None:
    if unwanted_path(file.path):
        return "path"
    if full:
        return "source-cap"
    if why := unwanted_text(file.text):
        return why
    if duplicates.add(file.text):
        return "near-duplicate"
    return "benchmark" if benchmarks.leaks(file.text) else None


def _summary(kept: list[SourceFile]) -> list[dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    for file in kept:
        row = rows.setdefault(file.source, {"source": file.source, "license": file.license, "files": 0, "bytes": 0})
        row["files"] = int(str(row["files"])) + 1
        row["bytes"] = int(str(row["bytes"])) + len(file.text)
    return [rows[name] for name in sorted(rows)]


def _write(path: Path, files: list[SourceFile]) -> dict[str, object]:
    digest = sha256()
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as out:
        for file in files:
            line = json.dumps({"source": file.source, "path": file.path, "text": file.text}) + "\n"
            digest.update(line.encode())
            out.write(line)
    return {"files": len(files), "bytes": sum(len(file.text) for file in files), "sha256": digest.hexdigest()}

"""Only regular files are read, and no more of them than asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pass_lsp.documents.reading import read


def test_a_file_is_read_up_to_one_byte_behind_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\r\n3\x1a")
    assert [read(str(file), limit) for limit in (2, 4, 5, 9)] == [b"1\r\n", b"1\r\n3\x1a", b"1\r\n3\x1a", b"1\r\n3\x1a"]
    with pytest.raises(OSError):
        read(str(tmp_path / "b"), 9)
    with pytest.raises(ValueError):
        read("a\0b", 9)


@pytest.mark.skipif(os.name == "nt", reason="needs pipes and devices that have names")
@pytest.mark.timeout(20)
def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    taken, given = os.pipe()
    names = [tmp_path / "pipe", tmp_path / "link", tmp_path / "zero"]
    if Path("/proc/self/fd").exists():
        names.append(Path(f"/proc/self/fd/{taken}"))
    try:
        assert [read(str(name), 9) for name in names] == [None] * len(names)
    finally:
        os.close(taken)
        os.close(given)

"""The second look at duplicates: windows of lines, whatever the files are."""

from __future__ import annotations

from pass_lsp.train.overlap import WINDOW, overlap, windows


def lines(name: str, count: int) -> list[str]:
    return [f"telling_line_{name}({number})" for number in range(count)]


def test_windows_ignore_white_space_comments_and_short_lines() -> None:
    plain = "\n".join(lines("a", WINDOW))
    spaced = "\n\n".join(f"    {line}  \nx\n  # a comment on {line}" for line in lines("a", WINDOW))
    assert windows(plain) == windows(spaced) and len(windows(plain)) == 1
    assert windows("\n".join(lines("a", WINDOW - 1))) == set() == windows("")


def test_a_function_copied_into_another_file_shows() -> None:
    copied = lines("copied", 8)
    train = ["\n".join(lines("a", 40) + copied), "\n".join(lines("b", 40) + copied), "\n".join(lines("c", 40))]
    held_out = ["\n".join(lines("d", 12) + copied)]
    found = overlap(train, held_out)
    assert found["heldout_in_train"] == round(4 / 16, 5)
    assert found["train_in_several"] == round(4 / (44 + 44 + 36 - 4), 5)
    assert overlap([], []) == {"heldout_in_train": 0.0, "train_in_several": 0.0}

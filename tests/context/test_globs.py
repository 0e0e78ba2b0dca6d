"""Patterns mean what they mean to git, and cost what they are long."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from pass_lsp.context.globs import EVERYTHING, decided, rules_of

SEGMENTS = (
    "a", "b", "ab", "a.py", ".", "a b", " ", "A1", "*", "**", "***", "*.py", "a*", "*b*", "**b", "*a*b*", "?", "??",
    "\\a", "\\*", "\\[a]", "\\#a", "\\!a", "a\\", "#", "!", "a[", "[", "[!", "[]", "[ab]", "[!a]", "[^a]*", "[a-c]?",
    "[]a]", "[!]a]", "[b-a]", "[\\]a]", "[a-]", "[--b]", "[a/b]", "[[:alpha:]]", "[[:digit:][:upper:]]*", "[[:a:]]", "",
)  # fmt: skip
NAMES = ("a", "b", "c", "ab", "ba", "a.py", "x.py", "aab", "A", "A1", "*", "[a]", "]", "-", "a b", "#a", "!a", "^", ":")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_they_match_what_they_match_for_git(tmp_path: Path) -> None:
    draw = random.Random(0)
    ignored: dict[str, bool] = {}
    for folder in map(str, range(600)):
        text = "".join(pattern(draw) + "\n" for _ in range(draw.choice((1, 1, 2, 3))))
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".gitignore").write_text(text, "utf-8", newline="")
        rules = rules_of(text)
        for _ in range(15):
            names = draw.choices(NAMES, k=draw.choice((1, 2, 2, 3, 4)))
            ignored["/".join((folder, *names))] = decided(rules, names)[0] > 0
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    asked = ["git", "-C", tmp_path, "check-ignore", "--no-index", "--stdin", "-z"]
    told = subprocess.run(asked, input="\0".join(ignored), capture_output=True, encoding="utf-8", check=True)
    assert {path for path in ignored if ignored[path]} == {*told.stdout.split("\0")[:-1]}
    assert 500 < sum(ignored.values()) < len(ignored) - 500


def pattern(draw: random.Random) -> str:
    inside = "/".join(draw.choices(SEGMENTS, k=draw.choice((1, 1, 1, 2, 2, 3, 4))))
    return draw.choice(("", "", "!")) + draw.choice(("", "", "/")) + inside + draw.choice(("", "", "/", "  ", "\\ "))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("*a" * 30 + "b", ["a" * 255] * 16),
        ("*-*-*-*-*-*.json", ["-".join(["ab12cd34ef"] * 24) + ".py"]),
        ("**/a/" * 30 + "b", [*["a"] * 100, "c"]),
        ("**/*a/" * 2_000 + "b", ["a"] * 1_000),
        ("\n".join(f"**/*{number}*/**/?" for number in range(3_000)), ["a" * 255] * 16),
    ],
    ids=range(5),
)
@pytest.mark.timeout(20)
def test_what_tried_each_way_to_match_would_not_end(text: str, names: list[str]) -> None:
    assert decided(rules_of(text), names) == (0, 0)


@pytest.mark.timeout(20)
def test_of_more_wildcards_than_can_be_taken_in_all_is_excluded() -> None:
    assert rules_of("*a" * 500_000) == rules_of("".join(f"?{number}\n" for number in range(20_000))) == (EVERYTHING,)
    assert decided((EVERYTHING,), ["a", "b"]) == (0b110, 0)
    plain = rules_of("".join(f"a/{number}.py\n# * and ?\n" for number in range(20_000)))
    assert decided(plain, ["a", "19999.py"]) == (0b100, 0) and decided(plain, ["a", "20000.py"]) == (0, 0)


def test_a_letter_is_one_in_every_script() -> None:
    rules = rules_of("?\n[à-ö].py\n")
    assert [decided(rules, [name])[0] > 0 for name in ("é", "é.py", "a.py", "éé")] == [True, True, False, False]

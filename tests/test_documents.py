"""`Document` and `DocumentStore` against slow, obvious twins."""

from __future__ import annotations

import random
import re

import pytest

from pass_lsp.documents.document import Document, Encoding
from pass_lsp.documents.store import Change, DocumentStore, path_of
from pass_lsp.documents.workspace import Region

ALPHABET = ["a", "b", " ", "\n", "\r", "\r\n", "é", "\U0001f600", "\x0c", "\u2028", "\x85", "\ud800", "中"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")


def units(character: str, encoding: Encoding) -> int:
    """Code units of one character, by definition."""
    if encoding == "utf-32":
        return 1
    if encoding == "utf-16":
        return 2 if ord(character) > 0xFFFF else 1
    return 1 + (ord(character) > 0x7F) + (ord(character) > 0x7FF) + (ord(character) > 0xFFFF)


def slow_position(text: str, offset: int, encoding: Encoding) -> tuple[int, int]:
    """Walks the text from its start; a `\\r` before a `\\n` does not end a line yet."""
    line = column = 0
    for index, character in enumerate(text[:offset]):
        ends = character == "\n" or (character == "\r" and text[index + 1 : index + 2] != "\n")
        line, column = (line + 1, 0) if ends else (line, column + units(character, encoding))
    return line, column


def random_text(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(length)))


def test_lines_end_at_lsp_line_ends_only() -> None:
    document = Document("u", "a\x0cb\u2028c\x85d\x0be\rf\r\ng\nh")
    assert document.line_count == 4
    assert [document.text[document.line_start(i) : document.line_end(i)] for i in range(4)] == [
        "a\x0cb\u2028c\x85d\x0be",
        "f",
        "g",
        "h",
    ]


@pytest.mark.parametrize("text", ["", "\n", "\r", "\r\n", "a", "a\n", "\n\n", "\r\r\n\n"])
def test_line_starts_and_ends_of_small_texts(text: str) -> None:
    document = Document("u", text)
    lines = re.split(r"\r\n|\n|\r", text)
    assert document.line_count == len(lines)
    assert [text[document.line_start(i) : document.line_end(i)] for i in range(len(lines))] == lines
    assert all(document.line_at(document.line_start(i)) == i for i in range(len(lines)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_positions_and_offsets_are_inverse_and_agree_with_the_slow_twin(encoding: Encoding) -> None:
    rng = random.Random(1)
    for _ in range(300):
        document = Document("u", random_text(rng, 30))
        for offset in range(len(document.text) + 1):
            if document.text[offset - 1 : offset + 1] == "\r\n" and offset:
                continue  # between the halves of one line end there is no position
            place = document.position(offset, encoding)
            assert place == slow_position(document.text, offset, encoding)
            assert document.offset(*place, encoding) == offset


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_positions_outside_are_clamped(encoding: Encoding) -> None:
    document = Document("u", "é\U0001f600\nbc\r\n")
    assert document.offset(-1, 5, encoding) == 0
    assert document.offset(0, -3, encoding) == 0
    assert document.offset(0, 999, encoding) == 2
    assert document.offset(1, 2**31 - 1, encoding) == 5
    assert document.offset(2, 1, encoding) == document.offset(99, 0, encoding) == 7
    assert document.position(-5, encoding) == (0, 0)
    assert document.position(999, encoding) == (2, 0)


def test_a_position_inside_a_character_is_the_one_after_it() -> None:
    document = Document("u", "a\U0001f600b\U0001f600")
    assert [document.offset(0, i, "utf-16") for i in range(7)] == [0, 1, 2, 2, 3, 4, 4]
    assert [document.offset(0, i, "utf-8") for i in range(7)] == [0, 1, 2, 2, 2, 2, 3]


def test_lone_surrogates_keep_their_units() -> None:
    document = Document("u", "\ud83d\ude00x")  # two halves that arrived apart stay two characters
    assert document.position(2, "utf-16") == (0, 2)
    assert document.offset(0, 2, "utf-16") == 2
    assert document.offset(0, 6, "utf-8") == 2


def test_edits_splice_the_line_starts_exactly() -> None:
    rng = random.Random(2)
    document = Document("u", random_text(rng, 40))
    for version in range(3000):
        start, end = sorted(rng.randrange(len(document.text) + 1) for _ in range(2))
        if end - start > 12 or len(document.text) < 60:
            end = min(end, start + rng.randrange(3))
        text = random_text(rng, 6)
        expected = document.text[:start] + text + document.text[end:]
        document = document.edited(start, end, text, version)
        assert document.text == expected
        assert [*document._starts] == [*Document("u", expected)._starts]
        assert document.version == version


def test_an_edit_leaves_the_starts_of_far_lines_as_they_are() -> None:
    text = "some = 1\n" * 1000
    before = Document("u", text).edited(4500, 4500, "\r\nx")
    after = before.edited(4600, 4601, "one\ntwo\n")
    assert after._starts.kept[:500] == before._starts.kept[:500]
    assert after._starts.kept[520:] == before._starts.kept[518:] == Document("u", text)._starts.kept[517:]
    assert [*after._starts] == [*Document("u", after.text)._starts]


def test_edited_keeps_the_rest_and_clamps() -> None:
    document = Document("u", "abc", 3, "python", "/a.py")
    assert document.edited(2, 1, "X") == Document("u", "aXc", 3, "python", "/a.py")
    assert document.edited(-5, 99, "X", 4) == Document("u", "X", 4, "python", "/a.py")
    assert document.text == "abc"


def test_store_follows_documents() -> None:
    store = DocumentStore()
    store.open("file:///a%3Ab.py", "one\ntwo", 1, "python")
    changed = store.change("file:///a:b.py", [Change("2", (1, 0), (1, 3)), Change("1", (0, 0), (0, 3))], 2)
    assert changed is not None and (changed.text, changed.version) == ("1\n2", 2)
    assert store.get("file:///a%3ab.py") is changed and len(store) == 1 and list(store) == [changed]
    assert store.change("file:///other.py", [Change("x")]) is None
    full = store.change("file:///a:b.py", [Change("new")])
    assert full is not None and (full.text, full.version) == ("new", 2)
    assert store.close("file:///a:b.py") and not store.close("file:///a:b.py")
    assert store.get("file:///a:b.py") is None


def test_names_that_are_no_utf_8_stay_apart() -> None:
    store = DocumentStore()
    for name in ("%E9", "%E8"):
        store.open(f"file:///{name}.py", name)
    assert len(store) == 2 and store.get("file:///%e9.py").text == "%E9"  # type: ignore[union-attr]


def test_reversed_and_wild_ranges_do_no_harm() -> None:
    store = DocumentStore("utf-8")
    store.open("u", "one\ntwo")
    assert store.change("u", [Change("X", (1, 3), (0, 1))]).text == "oX"  # type: ignore[union-attr]
    assert store.change("u", [Change("Y", (-4, -4), (2**31, 2**31))]).text == "Y"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///home/a%20b.py", "/home/a b.py"),
        ("untitled:Untitled-1", "Untitled-1"),
        ("vscode-notebook-cell:/x/n.ipynb#W0s", "/x/n.ipynb"),
        ("http://[", ""),
        ("", ""),
    ],
)
def test_paths_of_uris(uri: str, path: str) -> None:
    assert path_of(uri) == path


@pytest.mark.parametrize("uri", ["file:///c%3A/a%20b/%C3%A9.py", "file:///C:/a%20b/%C3%A9.py"])
def test_paths_of_uris_on_windows(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    # What `url2pathname` is there; VS Code escapes the colon.
    monkeypatch.setattr("pass_lsp.documents.store.url2pathname", pytest.importorskip("nturl2path").url2pathname)
    assert path_of(uri) == "C:\\a b\\é.py"


def test_the_store_knows_what_was_used_last_and_where_it_was_edited() -> None:
    store = DocumentStore()
    for name in "abc":
        store.open(name, "one\ntwo\nthree\n")
    store.change("a", [Change("x\ny", (1, 0), (1, 3))])
    workspace = store.workspace(("/p",))
    assert [document.uri for document in workspace.documents] == ["a", "c", "b"]
    assert workspace.edits == (Region("a", 1, 2),) and workspace.roots == ("/p",)
    store.change("b", [Change("all new")])
    assert store.workspace().edits == (Region("a", 1, 2),)  # a whole new text is no edit by hand
    store.close("a")
    assert [document.uri for document in store.workspace().documents] == ["b", "c"]

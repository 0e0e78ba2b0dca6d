"""What memory answers: typing along, going back, closed brackets, partial accepts; and what it must not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pass_lsp.documents.document import Document
from pass_lsp.domain import Completion
from pass_lsp.reasons import Reason
from pass_lsp.suggestions import Suggestions, agree, suggestion_at
from tests.cursor import parse

FAR = "".join(f"line_{number} = {number}\n" for number in range(200))


def remembering(source: str, *answers: str, over: int = 0) -> Suggestions:
    """A memory of `answers` to a request at the cursor, each in place of `over` characters."""
    document, offset = parse(source)
    memory = Suggestions()
    memory.remember("u", document, offset, [Completion(answer, offset, offset + over) for answer in answers])
    return memory


def recalled(memory: Suggestions, source: str, key: str = "u") -> list[str] | None:
    """The whole texts after accepting what memory says at the cursor."""
    document, offset = parse(source)
    found = memory.recall(key, document, offset)
    if found is None:
        return None
    text = document.text
    return [text[: each.start] + each.text + text[each.end :] for each in found.completions]


def test_typing_along_shows_what_is_left() -> None:
    memory = remembering("ret<CURSOR>\n", "urn self.value")
    for typed in ("ret", "retu", "return self.val"):
        assert recalled(memory, f"{typed}<CURSOR>\n") == ["return self.value\n"]
    assert recalled(memory, "return self.value<CURSOR>\n") is None
    assert recalled(memory, "retx<CURSOR>\n") is None
    assert recalled(memory, "return  <CURSOR>\n") is None


def test_going_back_shows_the_longer_earlier_suggestion_again() -> None:
    memory = remembering("ret<CURSOR>\n", "urn self.value")
    assert recalled(memory, "return s<CURSOR>\n") == recalled(memory, "ret<CURSOR>\n") == ["return self.value\n"]
    assert recalled(memory, "re<CURSOR>\n") is None  # nothing was ever asked here


def test_brackets_and_quotes_that_the_editor_closes_are_said_again_or_left() -> None:
    memory = remembering("x = <CURSOR>\n", "f(a['k'])")
    assert recalled(memory, "x = f(<CURSOR>)\n") == ["x = f(a['k'])\n"]
    assert recalled(memory, "x = f(a[<CURSOR>])\n") == ["x = f(a['k'])\n"]
    assert recalled(memory, "x = f(a['<CURSOR>'])\n") == ["x = f(a['k'])\n"]
    assert recalled(memory, "x = f(a['k'<CURSOR>])\n") == ["x = f(a['k'])\n"]
    open_ended = remembering("x = <CURSOR>\n", "f(a, b")
    assert recalled(open_ended, "x = f(<CURSOR>)\n") == ["x = f(a, b)\n"]
    assert recalled(memory, "x = f(<CURSOR>}\n") == ["x = f(a['k'])}\n"]
    assert recalled(memory, "x = f(<CURSOR>word\n") is None


def test_enter_between_brackets_keeps_what_belongs_between_them() -> None:
    memory = remembering("f()<CURSOR>\ng\n", " {\n  if (a) {\n    b();\n  }\n  c();\n}")
    for source, whole in (
        ("f() {<CURSOR>}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n  c();\n}\ng\n"),
        ("f() {\n  <CURSOR>\n}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n  c();\n}\ng\n"),
        ("f() {\n  if (<CURSOR>)\n}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n  c();\n}\ng\n"),
        ("f() {\n  if (a) {<CURSOR>}\n}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n  c();\n}\ng\n"),
        # Two are below: what the inner one holds comes first,
        ("f() {\n  if (a) {\n    <CURSOR>\n  }\n}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n}\ng\n"),
        ("f() {\n  if (a) {\n    b(<CURSOR>)\n  }\n}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n}\ng\n"),
        # and the rest behind it.
        ("f() {\n  if (a) {\n    b();\n  }\n  <CURSOR>\n}\ng\n", "f() {\n  if (a) {\n    b();\n  }\n  c();\n}\ng\n"),
    ):
        assert recalled(memory, source) == [whole]
        assert recalled(remembering("f()<CURSOR>\r\ng\r\n", " {\r\n  if (a) {\r\n    b();\r\n  }\r\n  c();\r\n}"),
                        source.replace("\n", "\r\n")) == [whole.replace("\n", "\r\n")]  # fmt: skip
    assert recalled(memory, "f() {\n  if (a) {\n    b();<CURSOR>\n  }\n}\ng\n") is None
    assert recalled(memory, "f() {\n  <CURSOR>\n)\ng\n") is None
    assert recalled(memory, "f() {\n  <CURSOR>\nh\n}\ng\n") is None


def test_what_the_answer_replaces_may_be_there_or_typed_over() -> None:
    memory = remembering("f(<CURSOR>):\n", "a, b):", over=2)
    assert recalled(memory, "f(<CURSOR>):\n") == recalled(memory, "f(a, <CURSOR>):\n") == ["f(a, b):\n"]
    assert recalled(memory, "f(a, b)<CURSOR>:\n") == ["f(a, b):\n"]
    assert recalled(memory, "f(<CURSOR>\n") == ["f(a, b):\n"]


def test_words_and_lines_may_be_accepted_one_after_the_other() -> None:
    memory = remembering("def f(x):\n    <CURSOR>\n", "if x:\n        return 1\n    return 2")
    whole = ["def f(x):\n    if x:\n        return 1\n    return 2\n"]
    for part in ("if ", "if x:", "if x:\n", "if x:\n        ", "if x:\n        return 1\n    "):
        assert recalled(memory, f"def f(x):\n    {part}<CURSOR>\n") == whole


def test_scrolling_and_edits_elsewhere_change_nothing() -> None:
    memory = remembering(FAR + "ret<CURSOR>\n" + FAR, "urn 1")
    moved = "# new\n" * 50 + FAR + "retu<CURSOR>\n" + FAR[:300] + "changed = 1\n"
    assert recalled(memory, moved) is not None
    assert recalled(memory, FAR + "ret<CURSOR>\nother\n" + FAR) is None
    assert recalled(memory, FAR.replace("line_199", "line_x") + "ret<CURSOR>\n" + FAR) is None
    assert recalled(memory, FAR + "ret<CURSOR>\n" + FAR, key="another") is None


def test_repetitive_text_is_told_apart_by_what_was_typed() -> None:
    same = "    x\n" * 300
    memory = remembering(same + "    <CURSOR>\n" + same, "x\n    x\n    y")
    assert recalled(memory, same + "    x\n    <CURSOR>\n" + same) is not None
    assert recalled(memory, same + "    z<CURSOR>\n" + same) is None


def test_alternatives_stay_as_long_as_they_agree() -> None:
    memory = remembering("x = <CURSOR>\n", "foo()", "fob", "bar")
    assert recalled(memory, "x = <CURSOR>\n") == ["x = foo()\n", "x = fob\n", "x = bar\n"]
    assert recalled(memory, "x = fo<CURSOR>\n") == ["x = foo()\n", "x = fob\n"]
    assert recalled(memory, "x = foo<CURSOR>\n") == ["x = foo()\n"]


def test_how_sure_the_model_was_is_known_of_the_first_alone() -> None:
    document, offset = parse("x = <CURSOR>\n")
    memory = Suggestions()
    answers = [Completion("foo()", offset, offset, log_prob=-2.0), Completion("bar", offset, offset)]
    memory.remember("u", document, offset, answers)
    for typed, log_probs in (("", [-2.0, None]), ("f", [-2.0]), ("b", [None])):
        found = memory.recall("u", *parse(f"x = {typed}<CURSOR>\n"))
        assert found is not None and [each.log_prob for each in found.completions] == log_probs


def test_what_is_on_screen_stays_there() -> None:
    memory = remembering("r<CURSOR>\n", "eturn first")
    document, offset = parse("re<CURSOR>\n")
    memory.remember("u", document, offset, [Completion("turn second", offset, offset)])
    assert recalled(memory, "ret<CURSOR>\n") == ["return second\n"]
    assert recalled(memory, "r<CURSOR>\n") == ["return first\n"]
    assert recalled(memory, "re<CURSOR>\n") == ["return first\n"]


def test_a_reason_is_remembered_for_its_very_parse() -> None:
    memory = Suggestions()
    document, offset = parse("x = 1<CURSOR>\n")
    memory.remember("u", document, offset, reason=Reason.EMPTY)
    found = memory.recall("u", document, offset)
    assert found is not None and (found.completions, found.reason) == ((), Reason.EMPTY)
    assert memory.recall("u", *parse("x = 12<CURSOR>\n")) is None


def test_a_reason_holds_for_the_very_text_alone() -> None:
    memory = Suggestions()
    spoilt = "def f(:\n" + FAR
    memory.remember("u", *parse(spoilt + "x = <CURSOR>\n"), reason=Reason.BROKEN)
    assert memory.recall("u", *parse(spoilt + "x = <CURSOR>\n")) is not None
    assert memory.recall("u", *parse("def f():\n" + FAR + "x = <CURSOR>\n")) is None


def test_an_answer_that_begins_left_of_the_cursor_counts_from_it() -> None:
    document, offset = parse("self.na<CURSOR>\n")
    memory = Suggestions()
    memory.remember("u", document, offset, [Completion("name = 1", offset - 2, offset)])
    assert recalled(memory, "self.nam<CURSOR>\n") == ["self.name = 1\n"]
    memory.forget()
    memory.remember("u", document, offset, [Completion("other", offset - 2, offset)])
    assert len(memory) == 0


def test_memory_is_bounded_and_a_document_s_goes_with_it() -> None:
    memory = Suggestions(limit=10)
    for number in range(30):
        document, offset = parse(f"x{number} = <CURSOR>\n")
        memory.remember("a" if number % 2 else "b", document, offset, [Completion("1", offset, offset)])
    assert len(memory) == 10
    assert recalled(memory, "x29 = <CURSOR>\n", "a") == ["x29 = 1\n"]
    memory.forget("a")
    assert len(memory) == 5
    assert recalled(memory, "x29 = <CURSOR>\n", "a") is None


def test_line_ends_are_the_document_s() -> None:
    memory = remembering("if x:\r\n    <CURSOR>\r\n", "a()\r\n    b()")
    assert recalled(memory, "if x:\r\n    a()\r\n    <CURSOR>\r\n") == ["if x:\r\n    a()\r\n    b()\r\n"]


def test_agreement_holds_as_far_as_both_are_known() -> None:
    assert agree("", "ret") and agree("return", "ret") and agree("re", "return")
    assert not agree("raise", "ret")


TEXT = st.text(alphabet="ab(\n )", max_size=40)


@given(TEXT, TEXT, st.text(alphabet="ab(\n )", min_size=1, max_size=20), st.integers(0, 20))
def test_accepting_what_memory_says_always_gives_the_first_suggestion_s_text(
    before: str, after: str, answer: str, typed: int
) -> None:
    document = Document("u", before + after)
    memory = Suggestions()
    memory.remember("u", document, len(before), [Completion(answer, len(before), len(before))])
    now = Document("u", before + answer[:typed] + after)
    found = memory.recall("u", now, len(before + answer[:typed]))
    wanted = before + answer + after
    if answer[typed:].strip():
        assert found is not None
    for each in found.completions if found else ():
        assert now.text[: each.start] + each.text + now.text[each.end :] == wanted


@given(TEXT, TEXT, TEXT, st.integers(0, 80))
def test_memory_takes_any_text(before: str, after: str, other: str, offset: int) -> None:
    suggestion = suggestion_at(
        Document("u", before + after), len(before), [Completion("a(b)", len(before), len(before))]
    )
    text = before + other + after
    for each in suggestion.at(Document("u", text), min(offset, len(text))):
        assert each.start <= min(offset, len(text)) <= each.end <= len(text)

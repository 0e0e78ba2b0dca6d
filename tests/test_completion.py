"""The whole flow against a scripted engine that has a tokenizer, `generate` and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

import pass_lsp
from pass_lsp.completion import (
    Outcome,
    alternatives_at,
    complete_document,
    prefill_document,
    prepare_workspace,
    self_test,
)
from pass_lsp.config import Settings
from pass_lsp.context import neighbours
from pass_lsp.documents.document import Document
from pass_lsp.documents.languages import language_of
from pass_lsp.documents.workspace import Workspace
from pass_lsp.domain import CancelToken, Completion, Generation, OnCommit, SamplingParams, Stop
from pass_lsp.errors import PromptError
from pass_lsp.prompt import template_for
from pass_lsp.prompt.text import TextTokenizer, family_of
from pass_lsp.reasons import Reason
from tests.cursor import parse
from tests.test_prompt import APPEND, byte_level

MARKERS = ["<|endoftext|>", "<|file|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
EMOJI = "\U0001f600"


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token a byte, and the markers of the embedded model."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytes_only = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    bytes_only.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_only.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=bytes_only, eos_token=MARKERS[0], additional_special_tokens=MARKERS[1:]
    )


class ScriptedEngine:
    """Answers every prompt with the same text, a token at a time, and keeps what it was asked."""

    __slots__ = ("_answer", "asked", "tokenizer")

    def __init__(self, tokenizer: Any, answer: str) -> None:
        self.tokenizer = tokenizer
        self.asked: list[tuple[str, SamplingParams]] = []
        self._answer = answer

    def generate(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams = SamplingParams(),
        *,
        cancel: CancelToken | None = None,
        on_commit: OnCommit | None = None,
        stop: Stop | None = None,
    ) -> Generation:
        self.asked.append((self.tokenizer.decode(prompt_ids), params))
        ids: list[int] = []
        for token in self.tokenizer(self._answer, add_special_tokens=False)["input_ids"]:
            if cancel and cancel.cancelled:
                return Generation(ids, "cancelled")
            if len(ids) == params.max_new_tokens:
                return Generation(ids, "length")
            ids.append(token)
            if on_commit:
                on_commit([token])
            if stop and (keep := stop(ids)) is not None:
                return Generation(ids[:keep], "stop")
        return Generation(ids, "eos")


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_tokenizer()


def completed(tokenizer: Any, source: str, answer: str, **given: Any) -> tuple[Completion | None, str, ScriptedEngine]:
    """`pass_lsp.complete` at the `<CURSOR>` of `source`; with the source and the engine."""
    document, offset = parse(source)
    engine = ScriptedEngine(tokenizer, answer)
    line, character = document.position(offset, "utf-16")
    options = {"path": "example.py"} | given
    return pass_lsp.complete(document.text, line, character, engine=engine, **options), document.text, engine


@pytest.mark.parametrize(
    ("path", "header", "block"),
    [
        ("a.md", "Try it:\n\n```python", "\nimport os\nprint(os.name)"),
        ("a.toml", "[tool.x]", "\nname = 'x'\nplain = true"),
        ("a.sql", "CREATE VIEW a AS", "\nSELECT b\nFROM c;"),
    ],
)
def test_a_block_that_is_not_indented_follows_its_header(tokenizer: Any, path: str, header: str, block: str) -> None:
    document = Document("", header + "\n", language=language_of(path), path=path)
    completion = complete_document(document, len(header), ScriptedEngine(tokenizer, block)).completion
    assert completion is not None and completion.text == block


@pytest.mark.parametrize("uri", ["", "file:///dense.py"])
def test_a_text_of_more_tokens_than_code_has_is_trimmed_by_syntax_too(tokenizer: Any, uri: str) -> None:
    body = "".join(f"        say('éééééééééééééééé {number}')\n" for number in range(400))
    text = f"import os\n\n\nclass Speaker:\n    def speak(self):\n{body}        x = "
    engine, settings, jumps = ScriptedEngine(tokenizer, ""), Settings(prompt_tokens=1500, token_healing=False), 0
    for number, character in enumerate("compute_more_of_it(and_of_that, one, two)"):
        text += character
        document = Document(uri, text + "\n" + body, number, "python", "/dense.py")
        complete_document(document, len(text), engine, settings)
        shown, before = (engine.asked[at][0].removesuffix("<|fim_middle|>") for at in (-1, max(-2, -number - 1)))
        assert "<|fim_prefix|>import os\nclass Speaker:\n    def speak(self):\n        # ...\n        say('é" in shown
        assert 700 < len(shown.encode()) <= 1500
        jumps += not shown.startswith(before)
    assert jumps <= 1


def applied(text: str, item: Completion | None) -> str:
    assert item is not None
    return text[: item.start] + item.text + text[item.end :]


def test_the_rest_of_a_line_comes_back_with_character_offsets(tokenizer: Any) -> None:
    item, text, engine = completed(tokenizer, "def add(a, b):\n    return <CURSOR>\n\n\nx = 1\n", "a + b\nnever")
    assert item == Completion("a + b", len("def add(a, b):\n    return "), len("def add(a, b):\n    return "))
    assert applied(text, item) == "def add(a, b):\n    return a + b\n\n\nx = 1\n"
    assert len(engine.asked) == 1


def test_several_lines_end_where_their_block_ends(tokenizer: Any) -> None:
    answer = "if a > b:\n        return a\n    return b\n\n\ndef other():\n    pass\n"
    item, _, _ = completed(tokenizer, "def larger(a, b):\n    <CURSOR>\n", answer)
    assert item is not None
    assert item.text == "if a > b:\n        return a\n    return b"


def test_what_stands_right_of_the_cursor_is_replaced_if_the_answer_says_it_too(tokenizer: Any) -> None:
    item, text, _ = completed(tokenizer, "print(len(<CURSOR>))\n", "items))\n")
    assert applied(text, item) == "print(len(items))\n"


def test_positions_are_counted_in_utf_16(tokenizer: Any) -> None:
    item, text, engine = completed(tokenizer, f"name = '{EMOJI}é'; size = len(<CURSOR>\n", "name)")
    assert item is not None and item.start == text.index("\n")
    # One character less in the text than units in the line: the emoji is two of them.
    units = pass_lsp.complete(text, 0, item.start + 1, engine=engine, path="example.py")
    assert units == item


@pytest.mark.parametrize(("line", "character"), [(1, 10**6), (1, 2**31 - 1), (99, 0), (2**31 - 1, 2**31 - 1)])
def test_positions_past_the_end_are_clamped(tokenizer: Any, line: int, character: int) -> None:
    text = "def f():\n    return "
    item = pass_lsp.complete(text, line, character, engine=ScriptedEngine(tokenizer, "None"), path="example.py")
    assert item == Completion("None", len(text), len(text))


def test_a_position_past_its_line_is_that_line_s_end(tokenizer: Any) -> None:
    text = "first = \nsecond = 2\n"
    item = pass_lsp.complete(text, 0, 500, engine=ScriptedEngine(tokenizer, "1"), path="example.py")
    assert item == Completion("1", 8, 8)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("<CURSOR>", "example.py"),
        ("va<CURSOR>lue = 1\n", "example.py"),
        ("value = <CURSOR>other.name\n", "example.py"),
        ("KEY=<CURSOR>\n", ".env"),
        ("a\0b <CURSOR>\n", "example.py"),
    ],
)
def test_where_nothing_belongs_the_engine_is_not_asked(tokenizer: Any, source: str, path: str) -> None:
    item, _, engine = completed(tokenizer, source, "never", path=path)
    assert item is None
    assert engine.asked == []


@pytest.mark.parametrize("answer", ["", "   \n\n", "<|fim_middle|>", "<|endoftext|>x", "    x = 1\n"])
def test_an_answer_without_anything_new_is_none(tokenizer: Any, answer: str) -> None:
    item, _, engine = completed(tokenizer, "def f():\n    <CURSOR>\n    x = 1\n", answer)
    assert item is None
    assert len(engine.asked) == 1


def test_the_prompt_is_fill_in_the_middle_and_the_parameters_are_greedy(tokenizer: Any) -> None:
    _, _, engine = completed(tokenizer, "a = 1\nb = <CURSOR>\nc = 3\n", "2", path="project/app/example.py")
    [(prompt, params)] = engine.asked
    assert prompt == ("<|file|>project/app/example.py\n<|fim_suffix|>\nc = 3\n<|fim_prefix|>a = 1\nb = <|fim_middle|>")
    stops = template_for(tokenizer).stop_ids
    assert params == SamplingParams(max_new_tokens=Settings().multi_line_tokens, strategy="auto", stop_ids=stops)
    assert (params.temperature, params.seed, params.top_k, params.top_p) == (0.0, 0, 0, 1.0)


def test_complete_keeps_nothing_between_calls(tokenizer: Any) -> None:
    source = "def f():\n    return <CURSOR>\n"
    first, _, engine = completed(tokenizer, source, "1")
    for _ in range(2):
        assert pass_lsp.complete(source.replace("<CURSOR>", ""), 1, 11, engine=engine, path="example.py") == first
    assert len(engine.asked) == 3 and len({prompt for prompt, _ in engine.asked}) == 1


@pytest.mark.parametrize("longest", [300, 120, 0])
def test_an_engine_need_not_say_beforehand_how_long_a_prompt_may_be(tokenizer: Any, longest: int) -> None:
    class Bounded(ScriptedEngine):
        def generate(self, prompt_ids: Sequence[int], *rest: Any, **named: Any) -> Generation:
            if len(prompt_ids) > (longest or 300):
                raise PromptError("The prompt is too long; shorten it.", longest)
            return super().generate(prompt_ids, *rest, **named)

    class Telling(Bounded):
        context_length = longest

    text = "value = 1\n" * 400 + "other = "
    silent, telling = Bounded(tokenizer, "2"), Telling(tokenizer, "2")
    if not longest:
        with pytest.raises(PromptError, match="too long"):
            pass_lsp.complete(text, 400, 8, engine=silent, path="example.py")
        return
    item = pass_lsp.complete(text, 400, 8, engine=silent, path="example.py")
    assert item is not None and item == pass_lsp.complete(text, 400, 8, engine=telling, path="example.py")
    assert silent.asked == telling.asked


def test_the_language_may_be_given_or_follows_from_the_path(tokenizer: Any) -> None:
    source, answer = "def f():\n<CURSOR>\n", "    return 1\n\nprint()\n"
    by_path, _, _ = completed(tokenizer, source, answer)
    by_name, _, _ = completed(tokenizer, source, answer, path="", language="python")
    assert completed(tokenizer, source, answer, path=Path("example.py"))[0] == by_path
    unknown, _, _ = completed(tokenizer, source, answer, path="example.unheard-of")
    assert by_path is not None and by_path == by_name
    assert by_path.text == "    return 1"
    assert unknown is not None


def test_line_ends_are_the_document_s(tokenizer: Any) -> None:
    item, _, _ = completed(tokenizer, "def f():\r\n    <CURSOR>\r\n", "x = 1\n    return x\n")
    assert item is not None and item.text == "x = 1\r\n    return x"


def outcome(engine: ScriptedEngine, source: str, **given: Any) -> Outcome:
    document, offset = parse(source)
    return complete_document(document, offset, engine, **given)


def test_a_cancelled_generation_has_its_reason(tokenizer: Any) -> None:
    token, seen = CancelToken(), []

    def show(run: list[int]) -> None:
        seen.extend(run)
        if len(seen) == 2:
            token.cancel()

    engine = ScriptedEngine(tokenizer, "1234567890")
    assert outcome(engine, "x = <CURSOR>\n", cancel=token, on_commit=show) == Outcome(reason=Reason.CANCELLED)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("source", "answer", "reason"),
    [
        ("<CURSOR>", "x", Reason.NO_CONTEXT),
        ("wo<CURSOR>rd\n", "x", Reason.MID_WORD),
        ("x = <CURSOR>\n", "", Reason.EMPTY),
        ("def f():\n    <CURSOR>\n    x = 1\n", "x = 1\n", Reason.REPEATS_SUFFIX),
    ],
)
def test_an_empty_outcome_has_a_reason(tokenizer: Any, source: str, answer: str, reason: Reason) -> None:
    assert outcome(ScriptedEngine(tokenizer, answer), source) == Outcome(reason=reason)


def test_every_reason_is_explained_where_users_look() -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    table = text.partition("<!-- reasons -->\n")[2].partition("<!-- /reasons -->")[0].splitlines()[2:]
    assert table == [f"| `{reason.value}` | {reason.meaning} |" for reason in Reason]


def test_the_path_has_a_switch(tokenizer: Any) -> None:
    engine = ScriptedEngine(tokenizer, "1")
    outcome(engine, "x = <CURSOR>\n", settings=replace(Settings(), sources=()))
    assert engine.asked[0][0].startswith("<|file|>untitled\n")


@pytest.mark.parametrize(
    ("path", "root", "named"),
    [
        ("/home/ada/shop/app.py", "", "app.py"),
        ("C:\\Users\\ada\\app.py", "", "app.py"),
        ("shop/src/cart/app.py", "", "src/cart/app.py"),
        ("/home/ada/shop/app.py", "/home/ada/shop", "shop/app.py"),
        ("/home/ada/shop/src/cart/app.py", "/home/ada/shop", "src/cart/app.py"),
        ("/home/ada/shopping/app.py", "/home/ada/shop", "app.py"),
        ("/app.py", "/", "app.py"),
        ("/home/ada/app.py", "/", "app.py"),
        ("/shop/app.py", "/shop", "shop/app.py"),
    ],
)
def test_the_prompt_names_no_folder_above_the_open_one(tokenizer: Any, path: str, root: str, named: str) -> None:
    engine = ScriptedEngine(tokenizer, "1")
    complete_document(Document("", "x = ", path=path), 4, engine, workspace=Workspace(roots=(root,) if root else ()))
    assert engine.asked[0][0].startswith(f"<|file|>{named}\n")


def test_lengths_and_strategy_come_from_the_settings(tokenizer: Any) -> None:
    engine = ScriptedEngine(tokenizer, "abcdefghij")
    settings = replace(Settings(), single_line_tokens=3, multi_line_tokens=5, strategy="autoregressive")
    found = outcome(engine, "x = <CURSOR>\n", settings=settings)
    assert found.completion is not None and found.completion.text == "abc"
    outcome(engine, "def f():\n    <CURSOR>\n", settings=settings)
    assert [params.max_new_tokens for _, params in engine.asked] == [5, 5]
    assert {params.strategy for _, params in engine.asked} == {"autoregressive"}
    found = outcome(engine, "x = <CURSOR>\n", settings=replace(settings, single_line_tokens=7))
    assert found.completion is not None and found.completion.text == "abcdefg"
    for text, none in (
        ("x = <CURSOR>\n", {"single_line_tokens": 0}),
        ("def f():\n    <CURSOR>\n", {"multi_line_tokens": 0}),
    ):
        found = outcome(engine, text, settings=replace(settings, **none))
        assert (found.completion, found.reason) == (None, Reason.EMPTY)
        assert engine.asked[-1][1].max_new_tokens == 0


def test_a_line_that_begins_a_block_goes_on_to_its_end(tokenizer: Any) -> None:
    engine = ScriptedEngine(tokenizer, "(a):\n    return a\n\n\nx = f(1)\n")
    settings = replace(Settings(), single_line_tokens=len("(a):\n"))
    found = outcome(engine, "def f<CURSOR>\n", settings=settings)
    assert found.completion is not None and found.completion.text == "(a):\n    return a"
    assert len(engine.asked) == 1
    few = replace(settings, multi_line_tokens=len("(a):\n    ret"))  # the block is cut off
    found = outcome(engine, "def f<CURSOR>\n", settings=few)
    assert found.completion is not None and found.completion.text == "(a):"


def test_a_line_that_is_cut_off_is_not_taken_for_complete(tokenizer: Any) -> None:
    engine = ScriptedEngine(tokenizer, "g(abcdef)\n")
    settings = replace(Settings(), single_line_tokens=len("g(abc"))
    found = outcome(engine, "x = <CURSOR>\n", settings=settings)
    assert found.completion is not None and found.completion.text == "g(abc"
    engine = ScriptedEngine(tokenizer, "'one two three four'\n")
    found = outcome(engine, "x = <CURSOR>\n", settings=replace(settings, single_line_tokens=len("'one two th")))
    assert found.completion is not None and found.completion.text == "'one two"
    engine = ScriptedEngine(tokenizer, "g(abcdef)\n")
    given = SamplingParams(max_new_tokens=9)
    found = outcome(engine, "x = <CURSOR>\n", settings=settings, params=given)
    assert found.completion is not None and found.completion.text == "g(abcdef)"


def test_given_parameters_stay_and_gain_the_stop_ids_of_the_family(tokenizer: Any) -> None:
    engine = ScriptedEngine(tokenizer, "1")
    given = SamplingParams(max_new_tokens=7, temperature=0.5, seed=3, stop_ids=(1,), strategy="pass")
    outcome(engine, "x = <CURSOR>\n", params=given)
    [(_, params)] = engine.asked
    assert params == replace(given, stop_ids=(1, *template_for(tokenizer).stop_ids))


def test_offsets_outside_the_document_are_clamped(tokenizer: Any) -> None:
    document = Document("", "x = ", language="python", path="x.py")
    found = complete_document(document, 10**9, ScriptedEngine(tokenizer, "1"))
    assert found.completion == Completion("1", 4, 4)


def test_an_offset_within_a_line_end_is_the_end_of_its_line(tokenizer: Any) -> None:
    document = Document("", "x = \r\ny = 2\r\n", language="python", path="x.py")
    found = complete_document(document, 5, ScriptedEngine(tokenizer, "1"))
    assert found.completion == Completion("1", 4, 4)


# Token healing


class WordEngine(ScriptedEngine):
    """Answers a prompt with the text that `answers` has for the end of it, as a model would that knows whole words."""

    __slots__ = ("_answers",)

    def __init__(self, tokenizer: Any, answers: dict[str, str]) -> None:
        super().__init__(tokenizer, "")
        self._answers = answers

    def generate(self, prompt_ids: Sequence[int], *rest: Any, **named: Any) -> Generation:
        text = self.tokenizer.decode(prompt_ids).removesuffix("<|fim_middle|>")
        self._answer = next(answer for end, answer in self._answers.items() if text.endswith(end))
        return super().generate(prompt_ids, *rest, **named)


@pytest.fixture(scope="module")
def words() -> PreTrainedTokenizerFast:
    """A tokenizer to which `append` is one token, and `ap` another."""
    return byte_level(tuple(MARKERS), merges=APPEND)


def test_an_answer_begins_inside_a_token_where_the_prompt_ended_in_one(words: Any) -> None:
    shown: list[int] = []
    engine = WordEngine(words, {"items.": "append(1)", ".ap": "ple"})
    found = outcome(engine, "items.ap<CURSOR>\n", on_commit=shown.extend)
    assert found.completion is not None and found.completion.text == "pend(1)"
    assert words.decode(shown) == "pend(1)"
    assert [prompt.endswith("<|fim_prefix|>items.<|fim_middle|>") for prompt, _ in engine.asked] == [True]


def test_a_prompt_is_asked_as_it_stands_when_the_answer_begins_otherwise(words: Any) -> None:
    shown: list[int] = []
    engine = WordEngine(words, {"items.": "pop()", ".ap": "ple"})
    found = outcome(engine, "items.ap<CURSOR>\n", on_commit=shown.extend)
    assert found.completion is not None and found.completion.text == "ple"
    assert words.decode(shown) == "ple"
    assert len(engine.asked) == 2
    found = outcome(WordEngine(words, {"items.": "", ".ap": "ple"}), "items.ap<CURSOR>\n")
    assert found.completion is not None and found.completion.text == "ple"


def test_healing_can_be_switched_off(words: Any) -> None:
    engine = WordEngine(words, {"items.": "append(1)", ".ap": "ple"})
    found = outcome(engine, "items.ap<CURSOR>\n", settings=replace(Settings(), token_healing=False))
    assert found.completion is not None and found.completion.text == "ple"
    assert len(engine.asked) == 1


def test_a_cancelled_first_attempt_is_not_followed_by_another(words: Any) -> None:
    token = CancelToken()
    token.cancel()
    engine = WordEngine(words, {"items.": "pop()", ".ap": "ple"})
    assert outcome(engine, "items.ap<CURSOR>\n", cancel=token) == Outcome(reason=Reason.CANCELLED)
    assert len(engine.asked) == 1


# Headers

HEADER = {"if a:\n        ": "return a", "": "if a:"}


def test_a_model_that_ends_behind_a_header_is_asked_for_the_block(tokenizer: Any) -> None:
    shown: list[int] = []
    engine = WordEngine(tokenizer, HEADER)
    found = outcome(engine, "def f(a):\n    <CURSOR>\n\n\nx = 1\n", on_commit=shown.extend)
    assert found.completion is not None and found.completion.text == "if a:\n        return a"
    assert tokenizer.decode(shown) == found.completion.text
    (_, first), (prompt, second) = engine.asked
    assert prompt.endswith("<|fim_middle|>if a:\n        ")
    assert first.max_new_tokens - second.max_new_tokens == len("if a:\n        ")
    assert found.generation is not None and found.generation.token_ids == shown


@pytest.mark.parametrize(
    ("source", "header", "between"),
    [
        ("def f(a):\n  b = a\n  <CURSOR>\n", "if b:", "\n    "),
        ("def f(a):\n\tb = a\n\t<CURSOR>\n", "if b:", "\n\t\t"),
        ("class A:\n    x = 1\n\n    <CURSOR>\n", "def f(\n        self\n    ):", "\n        "),
        ("<CURSOR>\nx = 1\n", "if a:", "\n    "),
        ("def f(a):\n    if <CURSOR>\n", "a:", "\n        "),
    ],
)
def test_a_block_is_indented_as_blocks_are_here(tokenizer: Any, source: str, header: str, between: str) -> None:
    engine = WordEngine(tokenizer, {header + between: "pass", "": header})
    found = outcome(engine, "# A file.\n" + source)
    assert found.completion is not None and found.completion.text == f"{header}{between}pass"


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("def f(a):\n    <CURSOR>\n        return a\n", "if a:"),
        ("def f(a):\n    if <CURSOR>\n        return a\n", "a:"),
        ("d = {\n    <CURSOR>\n}\n", "'a':"),
        ("def f(a):\n    <CURSOR>\n", "return a"),
        ("def f(a):\n    <CURSOR>\n", "x = 'if a:"),
    ],
)
def test_nothing_more_is_asked_where_no_block_is_missing(tokenizer: Any, source: str, answer: str) -> None:
    _, _, engine = completed(tokenizer, source, answer)
    assert len(engine.asked) == 1


def test_a_block_that_ends_behind_a_header_gets_one_too(tokenizer: Any) -> None:
    answers = {f"if b:\n{' ' * 12}": "return b", f"if a:\n{' ' * 8}": "if b:", "": "if a:"}
    found = outcome(WordEngine(tokenizer, answers), "def f(a):\n    <CURSOR>\n")
    assert found.completion is not None
    assert found.completion.text == "if a:\n        if b:\n            return b"


def test_headers_without_end_end_with_the_answer(tokenizer: Any) -> None:
    engine = WordEngine(tokenizer, {"b:\n" + " " * lead: "if a:" for lead in range(8, 400, 8)} | {"": "if b:"})
    found = outcome(engine, "def f(a):\n    <CURSOR>\n")
    assert found.completion is not None and found.completion.text.startswith("if b:\n        if a:")
    assert len(engine.asked) < 10


def test_a_header_that_holds_itself_stays_alone(tokenizer: Any) -> None:
    item, _, engine = completed(tokenizer, "def f(a):\n    <CURSOR>\n", "if a:")
    assert item is not None and item.text == "if a:"
    assert len(engine.asked) == 2


def test_what_ends_before_the_block_is_a_header(tokenizer: Any) -> None:
    found = outcome(WordEngine(tokenizer, HEADER | {"if a:\n        ": ""}), "def f(a):\n    <CURSOR>\n")
    assert found.completion is not None and found.completion.text == "if a:"
    few = Settings(multi_line_tokens=len("if a:\n        "))
    assert outcome(WordEngine(tokenizer, HEADER), "def f(a):\n    <CURSOR>\n", settings=few) == found


def test_nothing_more_is_asked_when_time_is_up(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(10**6))
    monkeypatch.setattr("pass_lsp.postprocess.deadline.time.monotonic", lambda: next(seconds))
    # A look at the clock takes a second: one to begin, one for each token, and one before the block is asked for.
    for deadline_s, asked in ((len("if a:") + 1, 1), (1000, 2)):
        engine = WordEngine(tokenizer, HEADER)
        settings = replace(Settings(), deadline_ms=1000 * deadline_s, manual_deadline_ms=0)
        found = outcome(engine, "def f(a):\n    <CURSOR>\n", settings=settings)
        assert found.completion is not None and found.completion.text.startswith("if a:")
        assert len(engine.asked) == asked


def test_what_was_said_is_counted_in_the_tokens_of_the_model() -> None:
    engine = WordEngine(TextTokenizer(family_of("")), HEADER)
    found = outcome(engine, "def f(a):\n    <CURSOR>\n")
    assert found.completion is not None and found.completion.text == "if a:\n        return a"
    (_, first), (_, second) = engine.asked
    assert first.max_new_tokens - second.max_new_tokens == len("if a:\n        ") // TextTokenizer.ids_per_token


def test_asking_for_a_block_can_be_cancelled(tokenizer: Any) -> None:
    token, shown = CancelToken(), []

    def show(run: list[int]) -> None:
        shown.extend(run)
        if tokenizer.decode(shown).endswith("ret"):
            token.cancel()

    found = outcome(WordEngine(tokenizer, HEADER), "def f(a):\n    <CURSOR>\n", cancel=token, on_commit=show)
    assert found == Outcome(reason=Reason.CANCELLED)


# The self-test


@pytest.mark.parametrize(
    ("answer", "problem"), [("a + b", ""), ("<|fim_middle|>", "marker"), ("a + b<|file|>x", ""), ("", "")]
)
def test_the_self_test_finds_markers_in_answers(tokenizer: Any, answer: str, problem: str) -> None:
    found = self_test(ScriptedEngine(tokenizer, answer))
    assert (problem in found) if problem else found == ""


# --- what the server needs of the flow ----------------------------------------


def test_the_text_so_far_is_told_with_its_closed_lines(tokenizer: Any) -> None:
    document, offset = parse("def f(x):\n    <CURSOR>\n\n\nf(1)\n")
    heard: list[tuple[str, str | None]] = []

    words: dict[str, str | None] = {}

    def hear(text: str, closed: Any) -> None:
        lines, part = closed(True), closed(False)
        heard.append((text, lines.text if lines else None))
        words[text] = part.text if part else None

    engine = ScriptedEngine(tokenizer, "y = x\n    return y\n")
    outcome = complete_document(document, offset, engine, on_text=hear)
    assert outcome.completion is not None
    texts = [text for text, _ in heard]
    assert texts == sorted(texts, key=len) and texts[-1].startswith("y = x\n    return y")
    assert dict(heard)["y ="] is None and dict(heard)["y = x\n"] == "y = x"
    assert words["y ="] == "y"


def test_an_outcome_says_what_its_parts_took(tokenizer: Any) -> None:
    document, offset = parse("x = <CURSOR>\n")
    outcome = complete_document(document, offset, ScriptedEngine(tokenizer, "1\n"))
    assert list(outcome.taken_ms) == ["context", "prefill", "decode", "postprocess"]
    assert outcome.generation is not None and outcome.generation.token_ids
    nothing = complete_document(*parse("wo<CURSOR>rd\n"), ScriptedEngine(tokenizer, "1\n"))
    assert list(nothing.taken_ms) == ["context"] and nothing.generation is None


def test_time_is_up_with_the_best_closed_part_or_a_reason(tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = iter(range(0, 10**9, 3600))
    monkeypatch.setattr("pass_lsp.postprocess.deadline.time.monotonic", lambda: next(hours))
    patient, none = replace(Settings(), manual_deadline_ms=0), replace(Settings(), manual_deadline_ms=1)
    document, offset = parse("x = <CURSOR>\n")
    cut = complete_document(document, offset, ScriptedEngine(tokenizer, "f(a) + g(b)\n"), patient)
    assert cut.completion is not None and cut.completion.text == "f(a)"
    late = complete_document(document, offset, ScriptedEngine(tokenizer, "f(a) + g(b)\n"), none)
    assert (late.completion, late.reason) == (None, Reason.DEADLINE)


def test_prefilling_asks_for_one_token_of_the_same_prompt(tokenizer: Any) -> None:
    document, offset = parse("x = <CURSOR>\n")
    engine = ScriptedEngine(tokenizer, "1\n")
    prefill_document(document, offset, engine)
    complete_document(document, offset, engine)
    (read, one), (asked, _) = engine.asked
    assert read == asked and one.max_new_tokens == 1
    assert prefill_document(*parse("wo<CURSOR>rd\n"), engine) is None and len(engine.asked) == 2


def test_other_files_are_read_ahead_only_for_a_model_that_is_shown_them(
    tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    monkeypatch.setattr(neighbours, "windows_of", lambda document: read.append(document.path))
    other = Document("file:///b.py", "def f(x):\n    return x\n", language="python", path="/b.py")
    workspace, cancelled = Workspace((other,)), CancelToken()
    several, one = ScriptedEngine(byte_level(()), ""), ScriptedEngine(tokenizer, "")
    assert template_for(several.tokenizer).files and not template_for(one.tokenizer).files
    prepare_workspace(workspace, one)
    prepare_workspace(workspace, several, Settings(sources=()))
    cancelled.cancel()
    prepare_workspace(workspace, several, cancel=cancelled)
    assert not read
    prepare_workspace(workspace, several)
    assert read == ["/b.py"]


class Sampler(ScriptedEngine):
    """Answers each seed with another line, and some with the same."""

    __slots__ = ()

    def generate(self, prompt_ids: Sequence[int], params: SamplingParams = SamplingParams(), **rest: Any) -> Generation:
        self._answer = ["greedy\n", "greedy\n", "one\n", "one\n", "two\n", "three\n"][params.seed]
        return super().generate(prompt_ids, params, **rest)


def test_alternatives_are_distinct_and_sampled_by_seed(tokenizer: Any) -> None:
    document, offset = parse("x = <CURSOR>\n")
    engine = Sampler(tokenizer, "")
    first = complete_document(document, offset, engine).completion
    assert first is not None and first.text == "greedy"
    others = alternatives_at(document, offset, engine, first)
    assert [each.text for each in others] == ["one", "two"]
    sampled = [params for _, params in engine.asked[1:]]
    assert [params.seed for params in sampled] == [1, 2, 3, 4] and all(params.temperature > 0 for params in sampled)
    assert alternatives_at(document, offset, engine, first, replace(Settings(), alternatives=1)) == []
    token = CancelToken()
    token.cancel()
    assert alternatives_at(document, offset, engine, first, cancel=token) == []


def one_by_one(engine: Any, prompt_ids: Any, params: SamplingParams, branches: Any, **rest: Any) -> list[Generation]:
    """What an engine's `sample` gives, however it does it."""
    return [
        engine.generate(prompt_ids, replace(params, seed=b.seed), on_commit=b.on_commit, stop=b.stop, **rest)
        for b in branches
    ]


class Together(Sampler):
    """Answers all seeds that it is given at once, and keeps what they were."""

    __slots__ = ("batches",)

    def sample(self, prompt_ids: Any, params: SamplingParams, branches: Any, **rest: Any) -> list[Generation]:
        self.batches.append([branch.seed for branch in branches])
        return one_by_one(self, prompt_ids, params, branches, **rest)


def test_alternatives_are_sampled_together_where_the_engine_can(tokenizer: Any) -> None:
    document, offset = parse("x = <CURSOR>\n")
    engine = Together(tokenizer, "")
    engine.batches = []
    first = complete_document(document, offset, engine).completion
    assert first is not None
    assert [each.text for each in alternatives_at(document, offset, engine, first)] == ["one", "two"]
    assert engine.batches == [[1, 2], [3], [4]]  # as many as are missing, again and again


class WordSampler(WordEngine):
    """Knows whole words, and answers all seeds at once."""

    sample = one_by_one


def test_alternatives_ask_otherwise_where_a_word_does_not_go_on(words: Any) -> None:
    document, offset = parse("items.ap<CURSOR>\n")
    engine = WordSampler(words, {"items.": "pop()", ".ap": "ple"})
    found = alternatives_at(document, offset, engine, Completion("greedy", offset, offset))
    assert [each.text for each in found] == ["ple"]
    assert any("items.ap<|fim_middle|>" in asked for asked, _ in engine.asked)


def test_alternatives_that_end_behind_a_header_get_its_block(tokenizer: Any) -> None:
    document, offset = parse("def f(a):\n    <CURSOR>\n")
    engine = WordSampler(tokenizer, HEADER)
    found = alternatives_at(document, offset, engine, Completion("greedy", offset, offset))
    assert [each.text for each in found] == ["if a:\n        return a"]
    assert all(params.temperature > 0 for _, params in engine.asked)

"""Training examples: cut where an editor would cut, always the same, and blind to one another when packed."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from pass_lsp.train.corpus import read_corpus
from pass_lsp.train.fim import MIDDLE_WEIGHT, POOL, Examples, Packer, echoed, short_path
from pass_lsp.train.middle import split_middle
from pass_lsp.train.tokenizer import END, FILE, FIM_MIDDLE, FIM_PREFIX, FIM_SUFFIX, PAD, read_tokenizer

LENGTH = 128


@pytest.fixture(scope="module")
def tokenizer(tokenizer_dir: Path) -> Any:
    return read_tokenizer(tokenizer_dir)


@pytest.fixture(scope="module")
def examples(sources: Path, tokenizer: Any) -> Examples:
    return Examples(read_corpus(sources), tokenizer, LENGTH, seed=3)


TEXT = "class A:\n    def f(self):\n        x = 1\n        return x\n\n    def g(self):\n        pass\n\n\nprint(A())\n"


def test_pieces_join_back_to_the_text_or_lack_a_suffix() -> None:
    hidden = 0
    for seed in range(500):
        prefix, middle, suffix = split_middle(TEXT, random.Random(seed))
        assert TEXT.startswith(prefix + middle)
        if not suffix and prefix + middle != TEXT:
            hidden += 1
        else:
            assert prefix + middle + suffix == TEXT
    assert 20 < hidden < 80  # a tenth, of those that end before the text does


def test_middles_are_rests_of_lines_rests_of_blocks_and_short_spans() -> None:
    cuts = [split_middle(TEXT, random.Random(seed)) for seed in range(500)]
    middles = {middle for _, middle, _ in cuts}
    assert "x = 1\n        return x" in middles  # a block, from where it is indented to
    assert "x = 1" in middles
    assert any("\n" not in middle and middle for middle in middles)
    block = [middle for prefix, middle, _ in cuts if prefix.endswith("def f(self):\n        ")]
    assert all("def g" not in middle or len(middle) <= 160 for middle in block)


def test_an_echo_repeats_some_lines_and_the_cursor_stands_in_them() -> None:
    lines = [f"line {number}\n" for number in range(40)]
    for seed in range(100):
        whole = "".join(lines)
        spans = [(at, at + 1) for at, letter in enumerate(whole) if letter.isdigit()]
        text, moved, echo = echoed(whole, spans, random.Random(seed))
        assert echo is not None
        assert moved == [(at, at + 1) for at, letter in enumerate(text) if letter.isdigit()]
        again = text[echo.start : echo.stop].splitlines(keepends=True)
        assert 2 <= len(again) <= 12 and set(again) <= set(lines)
        assert text[: echo.start] + text[echo.stop :] == "".join(lines)
        prefix, _, _ = split_middle(text, random.Random(seed), echo)
        assert len(prefix) in echo
    assert echoed("one\ntwo\n", [(0, 3)], random.Random(0)) == ("one\ntwo\n", [(0, 3)], None)


def test_a_closed_line_keeps_its_closers_behind_the_cursor() -> None:
    text = "class A:\n    value = call(first, {'key': [1, 2]})\n    def f(self):\n        return g(x)\n    last = 1\n"
    cuts = [split_middle(text, random.Random(seed)) for seed in range(1600)]
    whole = [middle for prefix, middle, _ in cuts if prefix.endswith("value = ") and "\n" not in middle]
    assert {"call(first, {'key': [1, 2]})", "call(first, {'key': [1, 2"} <= set(whole)
    # What an editor may have right of the cursor is all that stays; a line of closers alone is taken whole.
    closed = [suffix.partition("\n")[0] for _, middle, suffix in cuts if suffix.strip() and middle.strip()]
    assert {"", ")", "]})", "):"} <= set(closed)
    assert closed.count(":") < 0.01 * len(closed)  # an editor closes brackets, no headers
    assert closed.count("") > 0.6 * len(closed)


def test_a_header_is_asked_for_together_with_its_body() -> None:
    text = "x = 1\n" + "if a:\n    b = 1\n    c = 2\nd = 3\n" * 9
    middles = [middle for _, middle, _ in (split_middle(text, random.Random(seed)) for seed in range(2000))]
    headers = [middle for middle in middles if middle.startswith("if a:")]
    assert len(headers) > 100
    assert headers.count("if a:\n    b = 1\n    c = 2") > 0.4 * len(headers)
    assert headers.count("if a:") < 0.02 * len(headers)  # a short span may end there


def test_a_line_that_leaves_a_bracket_open_mostly_comes_with_what_closes_it() -> None:
    text = "x = 1\n" + "raise A(\n    b,\n    c,\n)\nif d(\n    e\n):\n    f = '('\ng = 1\n" * 9
    middles = [middle for _, middle, _ in (split_middle(text, random.Random(seed)) for seed in range(4000))]
    calls = [middle for middle in middles if middle.startswith("raise A(\n") or middle == "raise A("]
    whole = sum(middle.startswith("raise A(\n    b,\n    c,\n)") for middle in calls)
    assert len(calls) > 100 and 0.7 * len(calls) < whole < 0.98 * len(calls)
    assert "if d(\n    e\n):\n    f = '('" in middles
    assert "f = '('" in middles  # that bracket is none


def test_a_bracket_that_nothing_closes_costs_no_middle() -> None:
    for text in ("f(\n" + "a,\n" * 40, "f(", "f((\n)\n"):
        for seed in range(200):
            prefix, middle, _ = split_middle(text, random.Random(seed))
            assert text.startswith(prefix + middle)


@pytest.mark.parametrize("text", ["", "\n", "x", "    ", "\n\n\n", "a\nb"])
def test_tiny_texts_split(text: str) -> None:
    for seed in range(50):
        prefix, middle, _ = split_middle(text, random.Random(seed))
        assert text.startswith(prefix + middle)


def test_an_example_depends_on_seed_and_index_alone(sources: Path, tokenizer: Any, examples: Examples) -> None:
    files = read_corpus(sources)
    again, other = Examples(files, tokenizer, LENGTH, seed=3), Examples(files, tokenizer, LENGTH, seed=4)
    backwards = [again[index] for index in reversed(range(30))][::-1]
    assert backwards == [examples[index] for index in range(30)]
    assert backwards != [other[index] for index in range(30)]


def test_examples_have_the_two_orders_and_plain_text(examples: Examples, tokenizer: Any) -> None:
    seen = {"SPM": 0, "PSM": 0, "plain": 0}
    ids = {name: tokenizer.get_vocab()[name] for name in (END, FILE, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)}
    for index in range(300):
        tokens = examples[index].token_ids
        assert tokens[0] == ids[FILE] and len(tokens) <= LENGTH
        order = [token for token in tokens[1:] if token in ids.values()]
        spm, psm = ids[FIM_SUFFIX] in order[:1], ids[FIM_PREFIX] in order[:1]
        full = [ids[FIM_SUFFIX], ids[FIM_PREFIX]] if spm else [ids[FIM_PREFIX], ids[FIM_SUFFIX]]
        full = [*full, ids[FIM_MIDDLE], ids[END]] if spm or psm else []
        assert order == full[: len(order)]  # long examples are cut at their end
        seen["SPM" if spm else "PSM" if psm else "plain"] += 1
    assert seen["SPM"] > seen["plain"] > seen["PSM"] > 0


def test_the_answer_weighs_more_and_the_first_token_nothing(examples: Examples, tokenizer: Any) -> None:
    middle = tokenizer.get_vocab()[FIM_MIDDLE]
    for index in range(100):
        example = examples[index]
        assert len(example.weights) == len(example.token_ids)
        answer = example.token_ids.index(middle) + 1 if middle in example.token_ids else len(example.token_ids)
        assert example.weights[0] == 0
        assert set(example.weights[1:answer]) <= {0.0, 1.0}
        assert set(example.weights[answer:]) <= {0.0, MIDDLE_WEIGHT}


PROSE = "Some words that say what is done here, and why."
COMMENTED = "".join(
    f'def f{number}(a):\n    """{PROSE}"""\n    # {PROSE}\n    value = a + {number}  # {PROSE}\n    return value\n\n\n'
    for number in range(40)
)


def test_prose_is_asked_for_only_where_the_cursor_stands_in_it(tokenizer: Any) -> None:
    middle = tokenizer.get_vocab()[FIM_MIDDLE]
    examples = Examples([("words.py", COMMENTED)], tokenizer, 2000)
    begun = 0
    for index in range(200):
        example = examples[index]
        tokens = example.token_ids
        at = tokens.index(middle) if middle in tokens else len(tokens)
        pairs = zip(tokens, example.weights, strict=True)
        asked = [tokenizer.decode([each]) if weight else "|" for each, weight in pairs]
        context, answer = "".join(asked[:at]), "".join(asked[at:])
        whole = tokenizer.decode(tokens[:at])
        assert all(context.count(code) == whole.count(code) for code in ("value = a + ", "return value", "def f"))
        assert "words that" not in context and "#" not in context and '"""' not in context
        first_line = answer.partition("\n")[0]
        begun += "what is done here, and" in first_line
        assert not re.search(r"# Some|\"\"\"Some", answer)
    assert begun


def test_the_examples_spell_their_files(sources: Path, examples: Examples, tokenizer: Any) -> None:
    texts = dict(read_corpus(sources))
    middle = tokenizer.get_vocab()[FIM_MIDDLE]
    for index in range(50):
        tokens = examples[index].token_ids
        header, _, rest = tokenizer.decode(tokens).partition("\n")
        name = header.removeprefix(FILE)
        assert name in texts
        if middle not in tokens and FIM_SUFFIX not in rest and FIM_PREFIX not in rest:
            assert rest in texts[name]


def test_markers_in_a_source_do_not_become_markers(tokenizer: Any) -> None:
    text = f"value = {FIM_MIDDLE!r}\nother = {END!r}\n" * 40
    ids = tokenizer.get_vocab()
    examples = Examples([("markers.py", text)], tokenizer, LENGTH)
    for index in range(50):
        tokens = examples[index].token_ids
        assert tokens.count(ids[FIM_MIDDLE]) <= 1 and tokens.count(ids[END]) <= 1


def test_short_path_keeps_three_parts() -> None:
    assert short_path("a/b/c/d.py") == "b/c/d.py"
    assert short_path("b\\c\\d.py") == "b/c/d.py"
    assert short_path("d.py") == "d.py"


# --- packing ------------------------------------------------------------------


def test_no_example_in_a_row_sees_another(examples: Examples, tokenizer: Any) -> None:
    batch = Packer(examples, rows=4, length=LENGTH).batch()
    pad = tokenizer.get_vocab()[PAD]
    assert batch.input_ids.shape == batch.weights.shape == batch.position_ids.shape == (4, LENGTH)
    assert batch.mask.shape == (4, 1, LENGTH, LENGTH)
    several = 0
    for row in range(4):
        filled = int((batch.input_ids[row] != pad).sum())
        starts = [at for at in range(filled) if batch.position_ids[row, at] == 0]
        several += len(starts) > 1
        expected = torch.zeros(LENGTH, LENGTH, dtype=torch.bool)
        for start, end in zip(starts, [*starts[1:], filled], strict=True):
            assert batch.position_ids[row, start:end].tolist() == list(range(end - start))
            assert batch.weights[row, start] == 0
            expected[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        # Padding sees padding, so that no row of the softmax is empty; nothing weighs it.
        tail = LENGTH - filled
        expected[filled:, filled:] = torch.ones(tail, tail, dtype=torch.bool).tril()
        assert torch.equal(batch.mask[row, 0], expected)
        assert batch.weights[row, filled:].sum() == 0
    assert several


def test_rows_hold_whole_examples_each_once(examples: Examples) -> None:
    packer = Packer(examples, rows=4, length=LENGTH)
    taken = []
    for batch in (packer.batch() for _ in range(5)):
        for ids, positions in zip(batch.input_ids, batch.position_ids, strict=True):
            filled = int((ids != examples.pad_id).sum())
            starts = [at for at in range(filled) if positions[at] == 0]
            for start, end in zip(starts, [*starts[1:], filled], strict=True):
                taken.append(tuple(ids[start:end].tolist()))
    drawn = [tuple(examples[index].token_ids) for index in range(packer.next_index)]
    for example in taken:
        drawn.remove(example)  # raises if it came twice, or was cut
    assert len(drawn) == POOL - 1 or len(drawn) == POOL


def test_packing_is_the_same_from_the_same_index(examples: Examples) -> None:
    first, second = (Packer(examples, 2, LENGTH, next_index=40) for _ in range(2))
    for _ in range(3):
        assert torch.equal(first.batch().input_ids, second.batch().input_ids)
        assert first.next_index == second.next_index > 40


def test_rows_are_well_filled(examples: Examples) -> None:
    packer = Packer(examples, 8, LENGTH)
    pad = examples.pad_id
    share = torch.stack([(packer.batch().input_ids != pad).float().mean() for _ in range(5)]).mean()
    assert share > 0.9

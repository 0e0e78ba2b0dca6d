"""Prompts: one snapshot a family, markers in user text, room, clipping. Tokenizers are made here."""

from __future__ import annotations

import argparse
import heapq
import inspect
import string
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from pass_lsp import prompt
from pass_lsp.config import Settings
from pass_lsp.context import build_context
from pass_lsp.documents.document import Document
from pass_lsp.domain import Context, Mode, Snippet
from pass_lsp.prompt.template import encode
from pass_lsp.prompt.text import family_of

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
BARS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
UNDERSCORES = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")


MERGES = (("d", "e"), ("de", "f"), ("r", "e"), ("Ġ", "Ġ"), ("Ġ", "="), ("a", "b"))


def byte_level(
    specials: tuple[str, ...], bos: str = "", plain: tuple[str, ...] = (), merges: Any = MERGES
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with a few merges, as most code models have."""
    vocabulary = [*ALPHABET, *("".join(pair) for pair in merges)]
    core = Tokenizer(models.BPE({piece: i for i, piece in enumerate(vocabulary)}, list(merges)))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_tokens(list(plain))
    core.add_special_tokens([*specials, *([bos] if bos else [])])
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=bos or None)


def spaced(specials: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A tokenizer that puts a space before a text, as the Llama 2 family does."""
    vocabulary = {"<unk>": 0, "▁": 1, "\n": 2}
    for character in string.printable:
        vocabulary.setdefault(character, len(vocabulary))
    core = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    core.decoder = decoders.Metaspace(prepend_scheme="always", split=False)
    core.add_special_tokens(["<s>", "</s>", *specials])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


SQUARES = ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>")
CODES = ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>")
DEEPSEEK = ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<|EOT|>")


@cache
def tokenizer_of(family: str) -> Any:
    return {
        "pass-lsp": lambda: byte_level(("<|endoftext|>", "<|file|>", *BARS)),
        "qwen-coder": lambda: byte_level(
            ("<|endoftext|>", "<|im_end|>"), plain=(*BARS, "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>")
        ),
        "codegemma": lambda: byte_level((*BARS, "<|file_separator|>", "<eos>"), bos="<bos>"),
        "granite": lambda: byte_level((*BARS, "<|end_of_text|>", "<|fim_pad|>")),
        "granite-3.0": lambda: byte_level((*UNDERSCORES, "<|end_of_text|>", "<fim_pad>", "<reponame>")),
        "mellum": lambda: byte_level(
            (*UNDERSCORES, "<|endoftext|>", "<filename>", "<reponame>", "<gh_stars>", "<system>", "<user>")
        ),
        "stablecode": lambda: byte_level((*UNDERSCORES, "<|endoftext|>", "<fim_pad>", "<filename>", "<reponame>")),
        "refact": lambda: byte_level((*UNDERSCORES, "<|endoftext|>", "<empty_output>")),
        "seed-coder": lambda: byte_level((*SQUARES, "<[end▁of▁sentence]>"), bos="<[begin▁of▁sentence]>"),
        "glm": lambda: byte_level((*CODES, "<|endoftext|>", "<|user|>")),
        "starcoder2": lambda: byte_level((*UNDERSCORES, "<|endoftext|>", "<file_sep>", "<repo_name>")),
        "starcoder": lambda: byte_level((*UNDERSCORES, "<|endoftext|>")),
        "santacoder": lambda: byte_level(("<fim-prefix>", "<fim-suffix>", "<fim-middle>", "<|endoftext|>")),
        "deepseek-coder": lambda: byte_level(DEEPSEEK, bos="<｜begin▁of▁sentence｜>"),
        "codellama": lambda: spaced(("▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>")),
        "codestral": lambda: spaced(("[SUFFIX]", "[PREFIX]")),
        "left-to-right": lambda: byte_level(("<|endoftext|>", "<|fim_prefix|>")),
    }[family]()


def context_of(prefix: str, suffix: str, path: str = "/home/me/project/pkg/mod.py") -> Context:
    return Context(prefix, suffix, Mode.SINGLE_LINE, path=path, language="python", root="/home/me/project")


def pieces(tokenizer: Any, ids: tuple[int, ...]) -> list[str]:
    """Special tokens as they are, and the text between them joined."""
    shown: list[str] = []
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    for i in ids:
        if i in special:
            shown += [tokenizer.convert_ids_to_tokens(i), ""]
        else:
            shown = shown or [""]
            shown[-1] += tokenizer.convert_ids_to_tokens(i)
    return [piece.replace("Ġ", " ").replace("Ċ", "\n") for piece in shown if piece]


SNAPSHOTS = {
    "pass-lsp": (
        ["<|file|>", "project/pkg/mod.py\n", "<|fim_suffix|>", "\nS", "<|fim_prefix|>", "a = P", "<|fim_middle|>"],
        ["<|endoftext|>", "<|file|>", "<|fim_suffix|>", "<|fim_prefix|>", "<|fim_middle|>"],
    ),
    "qwen-coder": (
        ["<|fim_prefix|>", "a = P", "<|fim_suffix|>", "\nS", "<|fim_middle|>"],
        ["<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_end|>", *BARS],
    ),
    "codegemma": (
        ["<bos>", "<|fim_prefix|>", "a = P", "<|fim_suffix|>", "\nS", "<|fim_middle|>"],
        ["<|file_separator|>", "<eos>", *BARS],
    ),
    "granite": (
        ["<|fim_prefix|>", "a = P", "<|fim_suffix|>", "\nS", "<|fim_middle|>"],
        ["<|end_of_text|>", "<|fim_pad|>", *BARS],
    ),
    "granite-3.0": (
        ["<fim_prefix>", "a = P", "<fim_suffix>", "\nS", "<fim_middle>"],
        ["<|end_of_text|>", "<fim_pad>", "<reponame>", *UNDERSCORES],
    ),
    "mellum": (
        ["<filename>", "project/pkg/mod.py\n", "<fim_suffix>", "\nS", "<fim_prefix>", "a = P", "<fim_middle>"],
        ["<|endoftext|>", "<reponame>", "<filename>", "<fim_suffix>", "<fim_prefix>", "<fim_middle>"],
    ),
    "stablecode": (
        ["<fim_prefix>", "a = P", "<fim_suffix>", "\nS", "<fim_middle>"],
        ["<|endoftext|>", "<filename>", "<reponame>", *UNDERSCORES],
    ),
    "refact": (
        ["<fim_prefix>", "a = P", "<fim_suffix>", "\nS", "<fim_middle>"],
        ["<|endoftext|>", *UNDERSCORES],
    ),
    "seed-coder": (
        ["<[begin▁of▁sentence]>", SQUARES[1], "\nS", SQUARES[0], "a = P", SQUARES[2]],
        ["<[end▁of▁sentence]>", SQUARES[1], SQUARES[0], SQUARES[2]],
    ),
    "glm": (
        [CODES[0], "a = P", CODES[1], "\nS", CODES[2]],
        ["<|endoftext|>", "<|user|>", *CODES],
    ),
    "starcoder2": (
        ["<fim_prefix>", "a = P", "<fim_suffix>", "\nS", "<fim_middle>"],
        ["<|endoftext|>", "<file_sep>", "<repo_name>", *UNDERSCORES],
    ),
    "starcoder": (
        ["<fim_prefix>", "a = P", "<fim_suffix>", "\nS", "<fim_middle>"],
        ["<|endoftext|>", *UNDERSCORES],
    ),
    "santacoder": (
        ["<fim-prefix>", "a = P", "<fim-suffix>", "\nS", "<fim-middle>"],
        ["<|endoftext|>", "<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ),
    "deepseek-coder": (
        ["<｜begin▁of▁sentence｜>", DEEPSEEK[0], "a = P", DEEPSEEK[1], "\nS", DEEPSEEK[2]],
        ["<|EOT|>", *DEEPSEEK[:3]],
    ),
    "codellama": (
        ["<s>", "▁<PRE>", "▁a▁=▁P", "▁<SUF>", "\nS", "▁<MID>"],
        ["▁<EOT>", "</s>", "▁<PRE>", "▁<SUF>", "▁<MID>"],
    ),
    "codestral": (["<s>", "[SUFFIX]", "\nS", "[PREFIX]", "▁a▁=▁P"], ["</s>", "[SUFFIX]", "[PREFIX]"]),
    "left-to-right": (["a = P"], []),
}


SHARED = {"granite-3.0": "granite", "stablecode": "starcoder", "refact": "starcoder"}
"""Models whose tokens are those of a family with another name."""


@pytest.mark.parametrize("model", SNAPSHOTS)
def test_snapshot_of_each_family(model: str) -> None:
    tokenizer = tokenizer_of(model)
    template = prompt.template_for(tokenizer)
    rendered = prompt.render(context_of("a = P", "\nS"), template, tokenizer, 100)
    expected, stops = SNAPSHOTS[model]
    assert template.name == SHARED.get(model, model)
    assert pieces(tokenizer, rendered.token_ids) == expected
    assert tokenizer.convert_ids_to_tokens(list(rendered.stop_ids)) == stops
    assert rendered.healed == ""


def test_every_row_of_the_table_has_a_snapshot() -> None:
    names = {SHARED.get(model, model) for model in SNAPSHOTS}
    assert {family.name for family in prompt.FAMILIES} | {"left-to-right"} == names


@pytest.mark.parametrize(
    "model",
    ["Qwen2.5", "Qwen3", "StarCoder,", "StarCoder2", "SantaCoder", "DeepSeek", "CodeLlama", "CodeGemma", "Codestral",
     "Granite 3.0", "Granite 3.3", "Mellum", "Seed-Coder", "StableCode", "Refact", "GLM", "embedded"],
)  # fmt: skip
def test_every_model_is_in_one_row(model: str) -> None:
    assert len([family for family in prompt.FAMILIES if model in family.models + ","]) == 1


@pytest.mark.parametrize(
    ("named", "family"),
    [
        ("qwen2.5-coder /home/me/pass-lsp/models/qwen2.5-coder", "qwen-coder"),
        ("/srv/codegemma-tests/starcoder2-3b.gguf", "starcoder2"),
        ("/models/qwen2.5-coder/model.gguf", "qwen-coder"),
        ("C:\\models\\mellum-4b\\m.gguf", "mellum"),
        ("x /cache/hub/models--Qwen--Qwen2.5-Coder-0.5B/snapshots/a1b2c3", "qwen-coder"),
        ("/home/me/pass-lsp/models/llama.gguf", "left-to-right"),
        ("my-refactored-llama", "left-to-right"),
        ("smallcloudai/Refact-1_6B-fim", "starcoder"),
        ("embedded", "pass-lsp"),
        ("", "left-to-right"),
    ],
)
def test_a_name_counts_and_folders_above_it_do_not(named: str, family: str) -> None:
    assert family_of(named).name == family


FILES = (Snippet("/home/me/project/pkg/one.py", "ONE = 1\n", 1), Snippet("two.py", "def two():\n    ...\n", 0))
REPOSITORY = {
    "pass-lsp": SNAPSHOTS["pass-lsp"][0],
    "qwen-coder": [
        "<|repo_name|>", "project\n", "<|file_sep|>", "pkg/one.py\nONE = 1\n", "<|file_sep|>",
        "two.py\ndef two():\n    ...\n", "<|file_sep|>", "pkg/mod.py\n", *SNAPSHOTS["qwen-coder"][0],
    ],
    "starcoder2": [
        "<repo_name>", "project\n", "<file_sep>", "pkg/one.py\nONE = 1\n", "<file_sep>",
        "two.py\ndef two():\n    ...\n", "<file_sep>", "pkg/mod.py\n", *SNAPSHOTS["starcoder2"][0],
    ],
    "mellum": [
        "<filename>", "pkg/one.py\nONE = 1\n", "<filename>", "two.py\ndef two():\n    ...\n",
        *SNAPSHOTS["mellum"][0],
    ],
    "codegemma": [
        "<bos>", "pkg/one.py\nONE = 1\n", "<|file_separator|>", "two.py\ndef two():\n    ...\n",
        "<|file_separator|>", "pkg/mod.py\n", *SNAPSHOTS["codegemma"][0][1:],
    ],
    "deepseek-coder": [
        "<｜begin▁of▁sentence｜>", DEEPSEEK[0], "#pkg/one.py\nONE = 1\n#two.py\ndef two():\n    ...\n"
        "#pkg/mod.py\na = P", DEEPSEEK[1], "\nS", DEEPSEEK[2],
    ],
    "codestral": [
        "<s>", "[SUFFIX]", "\nS", "[PREFIX]", "▁+++++▁pkg/one.py\nONE▁=▁1\n+++++▁two.py\n"
        "def▁two():\n▁▁▁▁...\n+++++▁pkg/mod.py\na▁=▁P",
    ],
    "starcoder": [
        "<fim_prefix>", "# Path: pkg/one.py\n# ONE = 1\n# Path: two.py\n# def two():\n#     ...\na = P",
        "<fim_suffix>", "\nS", "<fim_middle>",
    ],
    "left-to-right": [
        "# Path: pkg/one.py\n# ONE = 1\n# Path: two.py\n# def two():\n#     ...\na = P"
    ],
}  # fmt: skip


@pytest.mark.parametrize("model", REPOSITORY)
def test_snapshot_with_other_files(model: str) -> None:
    tokenizer = tokenizer_of(model)
    context = replace(context_of("a = P", "\nS"), snippets=FILES)
    rendered = prompt.render(context, prompt.template_for(tokenizer), tokenizer, 2000)
    assert pieces(tokenizer, rendered.token_ids) == REPOSITORY[model]


@pytest.mark.parametrize("model", sorted(REPOSITORY.keys() - {"pass-lsp"}))
def test_a_file_of_a_folder_beside_the_open_one_is_named_without_what_is_above(model: str) -> None:
    tokenizer = tokenizer_of(model)
    beside = (Snippet("/home/me/other/three.py", "THREE = 3\n", 0),)
    context = replace(context_of("a = P", "\nS"), snippets=beside)
    rendered = prompt.render(context, prompt.template_for(tokenizer), tokenizer, 2000)
    shown = "".join(pieces(tokenizer, rendered.token_ids))
    assert "other/three.py" in shown and "me/other" not in shown


@pytest.mark.parametrize("model", REPOSITORY)
def test_other_files_take_a_part_of_the_room_and_the_least_useful_go_first(model: str) -> None:
    tokenizer = tokenizer_of(model)
    template = prompt.template_for(tokenizer)
    many = tuple(Snippet(f"file_{rank}.py", f"value_{rank} = 1\n" * 3, rank) for rank in (3, 1, 0, 2))
    context = replace(context_of("x = 1\n" * 100 + "a = P", "\nS"), snippets=many)
    shown = tokenizer.decode(list(prompt.render(context, template, tokenizer, 500).token_ids))
    ranks = [rank for rank in (3, 1, 0, 2) if f"value_{rank}" in shown.replace(" ", "")]
    assert ranks in ([], [1, 0], [1, 0, 2]) if model != "pass-lsp" else ranks == []
    assert "a = P" in shown and "x = 1" in shown
    assert len(prompt.render(context, template, tokenizer, 500).token_ids) <= 500


def test_a_family_without_its_file_markers_shows_one_file() -> None:
    tokenizer = byte_level(("<|endoftext|>", *BARS))
    context = replace(context_of("a = P", "\nS"), snippets=FILES)
    template = prompt.template_for(tokenizer)
    assert template.name == "qwen-coder"
    rendered = prompt.render(context, template, tokenizer, 2000)
    assert pieces(tokenizer, rendered.token_ids) == SNAPSHOTS["qwen-coder"][0]


def test_the_template_is_remembered_for_each_tokenizer() -> None:
    tokenizer = tokenizer_of("starcoder")
    assert prompt.template_for(tokenizer) is prompt.template_for(tokenizer)


def test_a_marker_of_several_tokens_is_none() -> None:
    tokenizer = tokenizer_of("left-to-right")
    assert prompt.marker_id(tokenizer, "<|fim_middle|>") is None
    assert prompt.marker_id(tokenizer, "<|fim_prefix|>") == tokenizer.convert_tokens_to_ids("<|fim_prefix|>")


MARKS = sorted({mark for stops in SNAPSHOTS.values() for mark in (*stops[0], *stops[1]) if len(mark) > 4})


@pytest.mark.parametrize("family", SNAPSHOTS)
@settings(max_examples=40)
@given(text=st.lists(st.sampled_from([*MARKS, "<", "<|", "|>", "\n", "x", "<s", ">"])).map("".join))
def test_markers_in_user_text_never_become_markers(family: str, text: str) -> None:
    tokenizer = tokenizer_of(family)
    template = prompt.template_for(tokenizer)
    plain = prompt.render(context_of("", "", "a.py"), template, tokenizer, 10_000)
    rendered = prompt.render(context_of(text, text, text), template, tokenizer, 10_000)
    special = template.special_ids
    assert [i for i in rendered.token_ids if i in special] == [i for i in plain.token_ids if i in special]


def test_neutralised_text_still_reads_the_same() -> None:
    tokenizer = tokenizer_of("pass-lsp")
    text = 'MARKS = ["<|fim_middle|>", "<|file|>"]  # <|endoftext|>'
    template = prompt.template_for(tokenizer)
    ids = prompt.render(context_of(text, ""), template, tokenizer, 1000).token_ids
    middle = ids[ids.index(tokenizer.convert_tokens_to_ids("<|fim_prefix|>")) + 1 : -1]
    assert tokenizer.decode(list(middle), skip_special_tokens=True) == text


def test_a_prompt_is_made_of_the_same_tokens_as_the_training_text() -> None:
    tokenizer = tokenizer_of("pass-lsp")
    text = "<|file|>a/b/c.py\n<|fim_suffix|>\n  return\n<|fim_prefix|>def ab  = <|fim_middle|>"
    context = replace(context_of("def ab  = ", "\n  return\n", "C:\\x\\a\\b\\c.py"), root="C:\\x\\a")
    rendered = prompt.render(context, prompt.template_for(tokenizer), tokenizer, 100)
    assert list(rendered.token_ids) == tokenizer.encode(text, add_special_tokens=False)


def test_line_ends_and_lone_surrogates_are_mended() -> None:
    tokenizer = tokenizer_of("starcoder")
    template = prompt.template_for(tokenizer)
    rendered = prompt.render(context_of("a\r\nb\rc\ud800", "\r\n"), template, tokenizer, 100)
    assert pieces(tokenizer, rendered.token_ids) == ["<fim_prefix>", "a\nb\nc?", "<fim_suffix>", "\n", "<fim_middle>"]


# Token healing

APPEND = (("a", "p"), ("ap", "p"), ("e", "n"), ("app", "en"), ("appen", "d"), ("Ċ", "Ġ"))


@pytest.mark.parametrize(
    ("prefix", "healed"),
    [("x.ap", "ap"), ("x.app", "app"), ("x.", ""), ("x.append", ""), ("x.appx", ""), ("x", ""), ("", ""),
     ("x\n", ""), ("x\n ", "")],
)  # fmt: skip
def test_what_is_healed(prefix: str, healed: str) -> None:
    tokenizer = byte_level(("<|endoftext|>", "<|file|>", *BARS), merges=APPEND)
    template = prompt.template_for(tokenizer)
    rendered = prompt.render(context_of(prefix, "\nS"), template, tokenizer, 100, heal=True)
    whole = prompt.render(context_of(prefix, "\nS"), template, tokenizer, 100)
    assert rendered.healed == healed
    assert (rendered.otherwise or rendered).token_ids == whole.token_ids
    shorter = prompt.render(context_of(prefix.removesuffix(healed), "\nS"), template, tokenizer, 100)
    assert rendered.token_ids == shorter.token_ids


# Room


@dataclass
class Bare:
    """As much of an engine as `room` looks at."""

    context_length: int | None = None


@pytest.mark.parametrize(("length", "expected"), [(None, 2048), (4096, 2048), (1024, 928), (128, 64), (1, 1)])
def test_room_leaves_space_for_the_answer(length: int | None, expected: int) -> None:
    assert prompt.room(Bare(length), Settings()) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("family", SNAPSHOTS)
def test_code_of_so_many_characters_about_fills_the_room(family: str) -> None:
    tokenizer = tokenizer_of(family)
    template = prompt.template_for(tokenizer)
    text = inspect.getsource(heapq)[: prompt.characters(2000, template)]
    shown = 0.7 if family == "left-to-right" else 1  # of what is looked at; the rest stands below the cursor
    assert 1600 <= len(encode(tokenizer, template, text)) * shown <= 2200


@pytest.mark.parametrize("family", ["left-to-right", "qwen-coder"])
def test_all_of_the_room_is_used_without_a_suffix_too(family: str) -> None:
    tokenizer, source = tokenizer_of(family), inspect.getsource(argparse)
    template = prompt.template_for(tokenizer)
    document = Document("", source, language="python")
    for line in range(400, document.line_count, 40):
        context = build_context(document, document.line_end(line), budget=prompt.characters(2000, template))
        assert prompt.render(context, template, tokenizer, 2000).fill > 0.55


@pytest.mark.parametrize("family", SNAPSHOTS)
@settings(max_examples=25)
@given(before=st.integers(0, 60), after=st.integers(0, 60), room=st.integers(8, 400))
def test_prompts_fit_and_are_cut_at_lines(family: str, before: int, after: int, room: int) -> None:
    tokenizer = tokenizer_of(family)
    prefix = "".join(f"line {number} = 1\n" for number in range(before)) + "x = "
    suffix = "\n" + "".join(f"more {number} = 2\n" for number in range(after))
    template = prompt.template_for(tokenizer)
    rendered = prompt.render(context_of(prefix, suffix), template, tokenizer, room)
    assert len(rendered.token_ids) <= max(room, 9)
    shown = pieces(tokenizer, rendered.token_ids)
    if room >= 60:
        text = next(text for piece in shown if "x =" in (text := piece.replace("▁", " "))).lstrip(" ")
        assert prefix.endswith(text)
        assert text == prefix or prefix[: -len(text)].endswith("\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x = f(|)\n", "\n"), ("x = f(\n    g[|]\n)\n", "\n)\n"), ("x = [f({|})],\n", ",\n"),
        ("if f(|):\n", ":\n"), ("x = f(a|))\n", ")\n"), ("x = f(a|]\n", "]\n"),
        ('x = f("|")\n', "\n"), ('x = f("a(|)")\n', "\n"), ('"""|"""\n', "\n"),
        ("# f(|)\n", "\n"), ("# f|)\n", ")\n"), ("x = f(|", ""), ("f(|)", ""),
    ],
)  # fmt: skip
def test_a_suffix_that_stands_first_says_nothing_of_what_the_editor_has_closed(text: str, shown: str) -> None:
    at = text.index("|")
    context = build_context(Document("", text.replace("|", ""), language="python"), at, budget=2000)
    for family, expected in (("pass-lsp", shown), ("qwen-coder", text[at + 1 :])):
        template = prompt.template_for(tokenizer := tokenizer_of(family))
        told = pieces(tokenizer, prompt.render(context, template, tokenizer, 500).token_ids)
        behind = told[told.index("<|fim_suffix|>") + 1]
        assert (behind if behind not in BARS else "") == expected, family


def test_clipping_moves_in_steps_while_typing() -> None:
    tokenizer = tokenizer_of("pass-lsp")
    template = prompt.template_for(tokenizer)
    suffix = "\n" + "".join(f"more_{number} = 2\n" for number in range(40))
    prefix = "".join(f"line_{number} = 1\n" for number in range(60))
    changes, last = 0, ()
    for typed in "result = sum(line_3, line_4, line_5, line_6, line_7)":
        prefix += typed
        ids = prompt.render(context_of(prefix, suffix), template, tokenizer, 500).token_ids[:-1]
        changes += bool(last) and ids[: len(last) - 2] != last[:-2]
        last = ids
    assert changes <= 2

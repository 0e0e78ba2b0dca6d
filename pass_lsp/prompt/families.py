"""Families of models as data: how each spells fill-in-the-middle (FIM), other files, and the end of an answer.

Which family a model belongs to is read from its tokenizer; only where a server keeps that to
itself its name has to do. Families that no token tells apart and that were trained alike share
a row. Sources: the models' own cards and papers, and the template tables of the completion
tools that serve them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PATH, PREFIX, SUFFIX = "{path}\n", "{prefix}", "{suffix}"
SLOTS = frozenset((PATH, PREFIX, SUFFIX))


@dataclass(frozen=True, slots=True)
class Files:
    """How other files stand in a prompt: `head` once, `each` for every file, `here` before the current one.

    Parts with braces are text with `{repo}`, `{path}`, `{code}` or `{remark}` (path and code as
    a comment) filled in; the others are markers. `inside` says that they stand at the head of
    the prefix, behind its marker; otherwise they come first of all.
    """

    head: tuple[str, ...] = ()
    each: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    inside: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        """The markers of all parts."""
        return tuple(part for part in (*self.head, *self.each, *self.here) if "{" not in part)


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table. Everything in `layout` that is no slot is a marker.

    `needs` are further tokens that tell this family from another with the same markers.
    `glued` says that the tokenizer puts a space before a text, which the suffix must not get.
    `files` is how it was trained on several files, None if it must see one only. `named` finds it
    by the name of a model, in lower case.
    """

    name: str
    models: str
    layout: tuple[str, ...]
    stops: tuple[str, ...]
    needs: tuple[str, ...] = ()
    glued: bool = False
    files: Files | None = field(default_factory=lambda: Files(each=("{remark}\n",), inside=True))
    named: str = ""

    @property
    def markers(self) -> tuple[str, ...]:
        """The markers of the layout, in its order."""
        return tuple(part for part in self.layout if part not in SLOTS)

    @property
    def suffix_first(self) -> bool:
        """Whether typing leaves everything in front of the prefix as it was."""
        return SUFFIX in self.layout and self.layout.index(SUFFIX) < self.layout.index(PREFIX)


def _psm(prefix: str, suffix: str, middle: str) -> tuple[str, ...]:
    return prefix, PREFIX, suffix, SUFFIX, middle


def _spm(prefix: str, suffix: str, middle: str) -> tuple[str, ...]:
    return suffix, SUFFIX, prefix, PREFIX, middle


_BARS = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
_UNDERSCORES = ("<fim_prefix>", "<fim_suffix>", "<fim_middle>")
_HYPHENS = ("<fim-prefix>", "<fim-suffix>", "<fim-middle>")
_SQUARES = ("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>")
_QWEN_STOPS = ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|im_start|>", "<|im_end|>")
_GRANITE_STOPS = ("<|end_of_text|>", "<|fim_pad|>", "<fim_pad>", "<filename>", "<|filename|>", "<reponame>")

FAMILIES = (
    Family(
        "pass-lsp",
        "the embedded model",
        ("<|file|>", PATH, "<|fim_suffix|>", SUFFIX, "<|fim_prefix|>", PREFIX, "<|fim_middle|>"),
        ("<|endoftext|>",),
        files=None,  # trained on one file at a time
        named=r"pass-lsp|^embedded$",
    ),
    Family(
        "codegemma",
        "CodeGemma",
        _psm(*_BARS),
        ("<|file_separator|>", "<end_of_turn>", "<eos>"),
        ("<|file_separator|>",),
        files=Files(each=("{path}\n{code}\n", "<|file_separator|>"), here=("{path}\n",)),
        named=r"code-?gemma",
    ),
    Family(
        "granite",
        "Granite 3.3 and 4",
        _psm(*_BARS),
        _GRANITE_STOPS,
        ("<|end_of_text|>",),
        named=r"granite[-:]?(3\.[3-9]|4)",
    ),
    Family(
        "qwen-coder",
        "Qwen2.5-Coder, Qwen3-Coder",
        _psm(*_BARS),
        (*_QWEN_STOPS, "<|cursor|>"),
        files=Files(
            ("<|repo_name|>", "{repo}\n"),
            ("<|file_sep|>", "{path}\n{code}\n"),
            ("<|file_sep|>", "{path}\n"),
        ),
        named=r"qwen[\w.]*-?coder",
    ),
    Family(
        "granite",
        "Granite 3.0 to 3.2",
        _psm(*_UNDERSCORES),
        _GRANITE_STOPS,
        ("<|end_of_text|>",),
        named=r"granite[-:]?3\.[0-2]",
    ),
    Family(
        "starcoder2",
        "StarCoder2",
        _psm(*_UNDERSCORES),
        ("<|endoftext|>", "<file_sep>", "<repo_name>"),
        ("<file_sep>",),
        files=Files(("<repo_name>", "{repo}\n"), ("<file_sep>", "{path}\n{code}\n"), ("<file_sep>", "{path}\n")),
        named=r"star-?coder-?2",
    ),
    Family(
        "mellum",
        "Mellum",
        ("<filename>", PATH, *_spm(*_UNDERSCORES)),
        ("<|endoftext|>", "<reponame>"),
        ("<system>", "<user>"),
        files=Files(each=("<filename>", "{path}\n{code}\n")),
        named=r"mellum",
    ),
    Family(
        "starcoder",
        "StarCoder, StableCode, Refact, Granite code",
        _psm(*_UNDERSCORES),
        ("<|endoftext|>", "<|end_of_text|>", "<filename>", "<reponame>"),
        named=r"star-?coder|stable-?code|refact(?!or)|granite.*code",
    ),
    Family("santacoder", "SantaCoder", _psm(*_HYPHENS), ("<|endoftext|>",), named=r"santa-?coder"),
    Family(
        "seed-coder",
        "Seed-Coder",
        _spm(*_SQUARES),
        ("<[end▁of▁sentence]>", "<[PAD▁TOKEN]>", "<[SEP▁TOKEN]>"),
        named=r"seed-?coder",
    ),
    Family(
        "deepseek-coder",
        "DeepSeek-Coder, DeepSeek-Coder-V2",
        _psm("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
        ("<｜end▁of▁sentence｜>", "<|EOT|>"),
        files=Files(each=("#{path}\n{code}\n",), here=("#{path}\n",), inside=True),
        named=r"deepseek-?coder",
    ),
    Family(
        "glm",
        "GLM-4",
        _psm("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
        ("<|endoftext|>", "<|user|>", "<|observation|>"),
        named=r"glm-?4|codegeex",
    ),
    Family(
        "codellama",
        "CodeLlama",
        _psm("▁<PRE>", "▁<SUF>", "▁<MID>"),
        ("▁<EOT>", "</s>"),
        glued=True,
        named=r"code-?llama",
    ),
    Family(
        "codestral",
        "Codestral",
        ("[SUFFIX]", SUFFIX, "[PREFIX]", PREFIX),
        ("</s>",),
        glued=True,
        files=Files(each=("+++++ {path}\n{code}\n",), here=("+++++ {path}\n",), inside=True),
        named=r"codestral",
    ),
)
LEFT_TO_RIGHT = Family("left-to-right", "every other model", (PREFIX,), ())

SPELT_THERE = Family(
    "infill",
    "a server that spells the prompt itself",
    ("\0suffix\0", SUFFIX, "\0prefix\0", PREFIX),
    (),
    files=Files(each=("\0path\0", "{path}", "\0text\0", "{code}\n")),
)
"""Its markers never leave this process: they say which member of a request takes which text."""

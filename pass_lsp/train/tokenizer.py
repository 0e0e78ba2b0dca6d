"""Step 2, `train tokenizer`: a byte-level BPE made for code.

Line ends carry the indentation that follows them, so that a cursor after a line
end or after its indentation sits on a token boundary; digits stand alone; the
markers of fill-in-the-middle are single special tokens.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from pass_lsp.errors import TrainError
from pass_lsp.train.corpus import read_corpus

END, PAD, FILE = "<|endoftext|>", "<|pad|>", "<|file|>"
FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE = "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"
SPECIAL_TOKENS = (END, PAD, FILE, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE, "<|reserved_0|>", "<|reserved_1|>")

PATTERN = "|".join(
    (
        r"(?:\r?\n)+[ \t]*",  # line ends, with the indentation of the next line
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with one space, dot or underscore before it
        r"\p{N}",
        r" ?[^\s\p{L}\p{N}]+",
        r"[ \t]+(?=[ \t]\S)",
        r"\s+",
    )
)


def train_tokenizer(corpus: Path, out: Path, vocab_size: int, max_bytes: int = 40_000_000) -> PreTrainedTokenizerFast:
    """Train on at most `max_bytes` of the corpus and write a transformers tokenizer into `out`."""
    if (out / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(str(out))
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(PATTERN), behavior="isolated")
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, bytes_only])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=24,
    )
    tokenizer.train_from_iterator(_texts(corpus, max_bytes), trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(SPECIAL_TOKENS[2:]),
        clean_up_tokenization_spaces=False,
    )
    out.mkdir(parents=True, exist_ok=True)
    fast.save_pretrained(str(out))
    return fast


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """What `train_tokenizer` wrote into `folder`. Raises `TrainError`."""
    if not (folder / "tokenizer.json").exists():
        raise TrainError(f"{folder} holds no tokenizer.json; run `pass-lsp train tokenizer` first.")
    return PreTrainedTokenizerFast.from_pretrained(str(folder))


def _texts(corpus: Path, max_bytes: int) -> list[str]:
    texts: list[str] = []
    for _, text in read_corpus(corpus):
        if max_bytes <= 0:
            break
        texts.append(text)
        max_bytes -= len(text)
    return texts

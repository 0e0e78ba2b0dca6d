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
from pass_lsp.train import manifest
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
    """Train on at most `max_bytes` of the corpus and write a transformers tokenizer and `manifest.json` into `out`.

    What is there already is kept, and refused if it was made from other inputs. Raises `TrainError`.
    """
    inputs = {"vocab_size": vocab_size, "corpus_sha256": manifest.corpus_hash(corpus), "max_bytes": max_bytes}
    if manifest.read(out / "manifest.json") is not None:
        manifest.same_inputs(out / "manifest.json", inputs)
        return read_tokenizer(out)
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
    facts = {"sha256": manifest.file_hash(out / "tokenizer.json"), "versions": manifest.versions()}
    facts |= {"characters_per_token": characters_per_token(fast, corpus)}
    manifest.write(out / "manifest.json", {**inputs, "tokens": len(fast), **facts})
    return fast


def characters_per_token(tokenizer: PreTrainedTokenizerFast, corpus: Path) -> float | None:
    """How much text a token holds on the held-out part of `corpus`; None where there is none."""
    heldout = corpus / "heldout.jsonl.gz"
    texts = [text for _, text in read_corpus(heldout)] if heldout.exists() else []
    if not texts:
        return None
    tokens = sum(map(len, tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]))
    return round(sum(map(len, texts)) / tokens, 3) if tokens else None


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """What `train_tokenizer` wrote into `folder`. Raises `TrainError`."""
    if not (folder / "tokenizer.json").exists():
        raise TrainError(f"{folder} holds no tokenizer.json; run `pass-lsp train tokenizer` first.")
    try:
        return PreTrainedTokenizerFast.from_pretrained(str(folder))
    except Exception as error:  # the library's reader raises nothing narrower
        raise TrainError(
            f"{folder} holds a damaged tokenizer.json; run `pass-lsp train tokenizer` again, without its manifest.json."
        ) from error


def _texts(corpus: Path, max_bytes: int) -> list[str]:
    texts: list[str] = []
    for _, text in read_corpus(corpus):
        if max_bytes <= 0:
            break
        texts.append(text)
        max_bytes -= len(text)
    return texts

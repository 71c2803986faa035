"""Tiny vocabularies in the three formats, trained here on a few lines, and a WordPiece one like the embedding model's.

Here: builders that write one file each. Not here: any expectation.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

LINES = (
    "the quick brown fox jumps over the lazy dog",
    "def parse(line: str) -> list[str]:\n    return line.split(',')",
    "the parser reads the line, then the next line",
    "naïve café über straße, ça va",
    "12345 67890 2026-02-18T09:00:00Z",
) * 4


def byte_level(path: Path, vocab_size: int = 320) -> Path:
    """Byte-level BPE without normaliser, as a `tokenizer.json` with one special token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    tokenizer.save(str(path))
    return path


def byte_level_by_hand(path: Path, *merges: tuple[str, str]) -> Path:
    """All 256 bytes in order, then what these pairs become, as a `tokenizer.json`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(_bytes_by_letter().items(), key=lambda one: one[1])
    vocabulary = {token: no for no, token in enumerate([*(one for one, _ in letters), *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(path))
    return path


def ranks_of(byte_level_file: Path, path: Path) -> Path:
    """The ranks of a byte-level `tokenizer.json`, as a `.tiktoken` file; ids are the same."""
    vocabulary: dict[str, int] = json.loads(byte_level_file.read_text(encoding="utf-8"))["model"]["vocab"]
    byte_of = _bytes_by_letter()
    lines = []
    for token, rank in sorted(vocabulary.items(), key=lambda one: one[1]):
        if token == "<|endoftext|>":
            continue
        encoded = base64.b64encode(bytes(byte_of[letter] for letter in token)).decode()
        lines.append(f"{encoded} {rank}\n")
    path.write_text("".join(lines))
    return path


def _bytes_by_letter() -> dict[str, int]:
    """Which byte a letter of a byte-level vocabulary stands for: itself where it is printable, else from 256 on."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(rest)}


def ranks_by_hand(path: Path, *tokens: bytes) -> Path:
    """All 256 bytes in order, then these tokens."""
    entries = [*(bytes([byte]) for byte in range(256)), *tokens]
    lines = [f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(entries)]
    path.write_text("".join(lines))
    return path


def sentence_piece(path: Path, **options: Any) -> Path:
    """BPE with byte fallback, 400 pieces at most."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LINES),
        model_writer=model,
        vocab_size=400,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
        **options,
    )
    path.write_bytes(model.getvalue())
    return path


def word_piece(path: Path) -> Path:
    """A lower-casing WordPiece of a few words, which asks for truncation and padding to 128 as the real file does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "[", "]", "fix", "##ed", "the", "test", "##s", "sep"]
    tokenizer = Tokenizer(models.WordPiece({word: no for no, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    tokenizer.save(str(path))
    return path

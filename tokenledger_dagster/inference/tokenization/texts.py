"""Text as a tokenizer may be given it.

Here: what is done to text that no encoding can write, and the texts by which a vocabulary shows what it loses. Not
here: what a vocabulary itself does to text.
"""

from __future__ import annotations

__all__ = ["PROBES", "sanitised"]


def sanitised(text: str) -> str:
    """The text with halves of surrogate pairs joined, and those without another half replaced by U+FFFD.

    Nothing else is changed: NUL and control characters stand in logs, were sent, and cost tokens.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


PROBES = (
    "",
    " ",
    "  two before, two after  ",
    "line\nline\r\nline\ttab\x0b\x0c\u2028end",
    "".join(map(chr, range(128))),
    "".join(map(chr, range(128, 256))),
    "CASE Case case",
    "\u00e9 e\u0301 \ufb01 \uff21 \u00bd \u212b",  # what Unicode's normal forms change
    "\u2581 \u0120 ##ing Ġa",  # the marks that vocabularies use for themselves
    "\u00a0\u1680\u2003\u200b\u200d\u3000\ufeff",  # white space and joiners
    "\ufffd\uffff\ue000\U0010ffff",
    "\u4f60\u597d \u0440\u0443\u0441 \u0639\u0631 \u0e44\u0e17\u0e22",
    "\U0001f469\U0001f3fd\u200d\U0001f680 \U0001f1e8\U0001f1ed",
    "<|endoftext|> [CLS] [SEP] [PAD] [UNK] </s> <s> <unk> <pad> <0x41>",
    "don't WON'T we'll 1234567 x=y;{}//",
)
"""Each changed by some kind of tokenizer; a lossless one changes none."""

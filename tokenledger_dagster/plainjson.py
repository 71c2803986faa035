"""JSON text of plain values, as `fileio.encode_json` writes it, without its import.

Here: dicts, lists, text, whole numbers and Decimals.  Not here: structs, times and the rest (`fileio`).  A report on
unchanged logs is printed by this module: loading a JSON library would cost it more than the printing.
"""

from __future__ import annotations

from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Any

_STEP = "  "
_PLAIN = {True: "true", False: "false", None: "null"}


class Number(str):
    """A number as JSON writes it."""

    __slots__ = ()


_AS_IS = frozenset({int, Number})


def encode_plain(value: Any) -> bytes:
    """The same bytes as `fileio.encode_json(value)`: two spaces a level, keys as they come, a line feed at the end.

    Raises TypeError for what is not plain, ValueError for what JSON cannot say.
    """
    return (_text(value, "\n") + "\n").encode("utf-8")


def _text(value: Any, margin: str) -> str:
    kind = type(value)
    if kind is str:
        return quoted(value)
    if kind is dict:
        # a row is worth a template, since there are many with the same keys
        template = _template(tuple(value), margin)
        inner = margin + _STEP
        return template % tuple(
            [
                item if (one := type(item)) in _AS_IS else quoted(item) if one is str else _text(item, inner)
                for item in value.values()
            ]
        )
    if kind is list or kind is tuple:
        inner = margin + _STEP
        parts = [inner + (quoted(item) if type(item) is str else _text(item, inner)) for item in value]
        return "[" + ",".join(parts) + margin + "]" if parts else "[]"
    if kind in _AS_IS:
        return str(value)
    if value is None or kind is bool:
        return _PLAIN[value]
    if kind.__name__ == "Decimal":
        return decimal_text(value)
    raise TypeError(f"a {kind.__name__} is not plain")


@cache
def _template(keys: tuple[str, ...], margin: str) -> str:
    lines = [f"{margin}{_STEP}{quoted(key)}: ".replace("%", "%%") + "%s" for key in keys]
    return "{" + ",".join(lines) + margin + "}" if lines else "{}"


@cache
def quoted(text: str) -> str:
    """``text`` as a JSON string."""
    if text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    import json  # only for the rare name that needs escapes

    return json.dumps(text, ensure_ascii=False)


def nano_number(nano: int) -> Number:
    """USD of nano-USD: the text of ``decimal_text`` without a Decimal."""
    whole, rest = divmod(abs(nano), 1_000_000_000)
    text = f"{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else str(whole)
    return Number(f"-{text}" if nano < 0 else text)


def decimal_text(value: Decimal) -> str:
    """A plain number with at most nine places (nano-USD), rounded half-even, no exponent, no trailing zeros.

    Raises ValueError for what is no number.
    """
    if not value.is_finite():
        raise ValueError(f"{value} cannot be written as JSON; use None for what is unknown")
    text = f"{value:f}"
    point = text.find(".")
    if point >= 0:
        if len(text) - point > 10:
            text = _rounded(value)
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _rounded(value: Decimal) -> str:
    from decimal import ROUND_HALF_EVEN, Context, Decimal

    # the default context refuses results of more than 28 digits
    return f"{value.quantize(Decimal('1E-9'), context=Context(prec=100, rounding=ROUND_HALF_EVEN)):f}"

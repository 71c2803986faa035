"""Reading a pricing book that may be broken in any way: what its JSON says wrongly, and what is left of it.

Here: from bytes to findings about shape, and to a document in the contract's types from which the broken values are
left out, so that every other rule can be asked too. Not here: whether figures, names and dates make sense.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from tokenledger_dagster.contracts.pricing_book import PricingBook
from tokenledger_dagster.contracts.pricing_lint import LintFinding
from tokenledger_dagster.pricing.findings import DOCUMENT, error, shown, warning
from tokenledger_dagster.printable import printable

_DROPPED: Any = object()
_LONGEST_INTEGER = 30
_PLACEHOLDER = re.compile(
    r"(?!<synthetic>)(to-?do|fix-?me|tb[acd]|x+|change[-_ ]?me|place-?holder|fill[-_ ]me[-_ ]in|\?+|\.+|-+|<.*>)\W*",
    re.IGNORECASE | re.DOTALL,
)
_TEXTS = ("source", "reason")
"""Texts in which a placeholder is looked for; an id or a version may be called `x`."""
_OTHER_CURRENCY = re.compile(r"_(?!usd)([a-z]{3})_(?:per_mtok|month)$")
_WORDS = {
    inspect.DecimalType: "a number of USD",
    inspect.IntType: "a whole number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.ListType: "a list",
    inspect.DictType: "an object",
    inspect.StructType: "an object",
}
_KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}


class Reading(msgspec.Struct, frozen=True):
    """What could be read of a book."""

    document: PricingBook | None
    """The book without its broken values; None where it is no JSON object."""
    findings: list[LintFinding]
    broken: frozenset[str]
    """Places of the values that were left out."""

    def is_told(self, place: str) -> bool:
        """Say whether a value that was left out is the reason for what a rule finds here."""
        return place in self.broken or any(one.endswith("]") and place.startswith(one) for one in self.broken)


class _NoNumber(str):
    """A number that arithmetic cannot hold: NaN, Infinity, an exponent beyond all bounds."""

    __slots__ = ()


class _Constant(_NoNumber):
    """One that JSON cannot say either."""

    __slots__ = ()


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys were given twice."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _ in pairs) if len(self) < len(pairs) else Counter[str]()
        self.repeated = [key for key, count in counts.items() if count > 1]


def read(content: bytes) -> Reading:
    """Return what can be read of a book, whatever the bytes are."""
    try:
        raw = json.loads(
            content.removeprefix(b"\xef\xbb\xbf").decode("utf-8"),
            parse_float=_number,
            parse_int=_integer,
            parse_constant=_Constant,
            object_pairs_hook=_Object,
        )
    except UnicodeDecodeError as problem:
        return _unreadable(f"is not UTF-8 at byte {problem.start}; save it as UTF-8")
    except json.JSONDecodeError as problem:
        return _unreadable(f"is no JSON: {problem}; mend it there")
    except RecursionError:
        return _unreadable("is nested too deep; a pricing book has six levels")
    if not isinstance(raw, _Object):
        found = error("wrong_type", DOCUMENT, f'is {_kind(raw)}, not an object; begin with {{"providers": ...}}')
        return Reading(None, [found], frozenset())
    reader = _Reader()
    reader.findings += _flaws(raw)
    cleaned = reader.cleaned(_book_type(), raw, "")
    return Reading(msgspec.convert(cleaned, PricingBook), reader.findings, frozenset(reader.broken))


def nearest(name: str, names: list[str]) -> str | None:
    """Return which of some names was probably meant; None where none is near."""
    return next(iter(difflib.get_close_matches(name.lower(), names, 1, 0.6)), None)


def _unreadable(message: str) -> Reading:
    return Reading(None, [error("not_json", DOCUMENT, message)], frozenset())


def _number(text: str) -> Decimal | _NoNumber:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _NoNumber(text)


def _integer(text: str) -> int | Decimal | _NoNumber:
    return int(text) if len(text) <= _LONGEST_INTEGER else _number(text)


@cache
def _book_type() -> inspect.Type:
    return inspect.type_info(PricingBook)


def _flaws(root: _Object) -> Iterator[LintFinding]:
    """What is wrong anywhere in the document, also where nobody reads it: the program's reader takes no such file."""
    waiting: list[tuple[Any, tuple[Any, ...]]] = [(root, ())]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, _Object):
            for key in value.repeated:
                message = f"{shown(key)} is given twice, and the last one counts; keep one of them"
                yield error("duplicate_key", _joined((path, key)), message)
            for key, item in value.items():
                if not _is_unicode(key):
                    yield _lone_surrogate((path, key))
                waiting.append((item, (path, key)))
        elif isinstance(value, list):
            waiting += [(item, (path, number)) for number, item in enumerate(value)]
        elif isinstance(value, _Constant):
            message = f"{value} is no number of JSON; write USD per million tokens, or null where it is not known"
            yield error("nan_rate", _joined(path), message, actual=value)
        elif isinstance(value, str) and not _is_unicode(value):
            yield _lone_surrogate(path)


def _lone_surrogate(path: tuple[Any, ...]) -> LintFinding:
    return error("not_json", _joined(path), "half of a surrogate pair is no character; write the character itself")


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= one <= "\udfff" for one in text)


def _joined(path: tuple[Any, ...]) -> str:
    parts: list[str] = []
    while path:
        path, last = path
        parts.append(f"[{last}]" if isinstance(last, int) else f".{last}")
    return "".join(reversed(parts)).removeprefix(".")


class _Reader:
    """Takes the raw values apart by the contract's types."""

    def __init__(self) -> None:
        self.findings: list[LintFinding] = []
        self.broken: set[str] = set()

    def cleaned(self, kind: inspect.Type, value: Any, place: str) -> Any:
        """Return the value as its type wants it, `_DROPPED` where it cannot be had."""
        if isinstance(kind, inspect.UnionType):
            if value is None:
                return None
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
        match kind:
            case inspect.StructType() if isinstance(value, dict):
                return self._complete(kind, self._struct(kind, value, place), value, place)
            case inspect.DictType() if isinstance(value, dict):
                return self._mapping(kind, value, place)
            case inspect.ListType() if isinstance(value, list):
                items = [self.cleaned(kind.item_type, item, f"{place}[{n}]") for n, item in enumerate(value)]
                return [{} if item is _DROPPED else item for item in items]  # the others keep their numbers
            case inspect.DecimalType() if isinstance(value, (str, int, Decimal)) and not isinstance(value, bool):
                return self._amount(value, place)
            case inspect.IntType() if type(value) is int:
                return value
            case inspect.BoolType() if isinstance(value, bool):
                return value
            case inspect.StrType() if type(value) is str:
                return self._text(value, place)
            case inspect.LiteralType() if type(value) is str and value in kind.values:
                return value
        return self._dropped_type(kind, value, place)

    def _struct(self, kind: inspect.StructType, value: dict[str, Any], place: str) -> dict[str, Any]:
        names = {field.encode_name: field for field in kind.fields}
        found = {}
        for key, item in value.items():
            inner = f"{place}.{key}" if place else key
            if key in names:
                cleaned = self.cleaned(names[key].type, item, inner)
                if cleaned is not _DROPPED:
                    found[key] = cleaned
            elif key.startswith(("x-", "_")) or (key == "$schema" and not place):
                continue  # notes, and what editors look for
            elif key == "currency" or _OTHER_CURRENCY.search(key.lower()):
                self._currency(key, item, inner)
            else:
                meant = nearest(key, list(names))
                remedy = f"did you mean {meant}?" if meant else "remove it, or begin it with x- where it is a note"
                message = f"{shown(key)} is no key of a pricing book and says nothing; {remedy}"
                self.findings.append(warning("unknown_key", inner, message, actual=key, expected=meant))
        return found

    def _complete(self, kind: inspect.StructType, cleaned: dict[str, Any], value: dict[str, Any], place: str) -> Any:
        missing = [field for field in kind.fields if field.required and field.encode_name not in cleaned]
        for field in missing:
            if field.encode_name not in value:  # else it was told why it is not there
                message = f"is missing; write {_WORDS[type(field.type)]}"
                self.findings.append(error("missing_key", f"{place}.{field.encode_name}", message))
        return self._dropped(place) if missing else cleaned

    def _mapping(self, kind: inspect.DictType, value: dict[str, Any], place: str) -> dict[str, Any]:
        found = {}
        for key, item in value.items():
            inner = f"{place}.{key}"
            if isinstance(kind.value_type, inspect.StrType) and self._is_placeholder(key, inner):
                continue
            cleaned = self.cleaned(kind.value_type, item, inner)
            if isinstance(kind.value_type, inspect.StrType) and isinstance(cleaned, str):
                cleaned = _DROPPED if self._is_placeholder(cleaned, inner) else cleaned
            if cleaned is not _DROPPED:
                found[_whole(key)] = cleaned
        return found

    def _text(self, value: str, place: str) -> Any:
        if place.rpartition(".")[2] in _TEXTS and self._is_placeholder(value, place):
            return _DROPPED
        return _whole(value)

    def _amount(self, value: str | int | Decimal, place: str) -> Any:
        if not isinstance(value, str):
            return Decimal(value)
        if not isinstance(value, _NoNumber) and self._is_placeholder(value, place):
            return _DROPPED
        found = _number(value)
        if isinstance(value, _NoNumber) or isinstance(found, _NoNumber) or not found.is_finite():
            message = f"{shown(value)} is no number; write USD per million tokens, or null where it is not known"
            if not isinstance(value, _Constant):  # those are told of wherever they stand
                self.findings.append(error("nan_rate", place, message, actual=value))
            return self._dropped(place)
        message = f"{shown(value)} is text; write the number without quotation marks"
        self.findings.append(warning("number_as_text", place, message, actual=value, expected=value.strip()))
        return found

    def _is_placeholder(self, text: str, place: str) -> bool:
        if not _PLACEHOLDER.fullmatch(text.strip()):
            return False
        message = f"{shown(text)} is a placeholder; write what is meant, or leave it out"
        self.findings.append(error("placeholder", place, message, actual=text))
        self._dropped(place)
        return True

    def _currency(self, key: str, value: Any, place: str) -> None:
        other = _OTHER_CURRENCY.search(key.lower())
        stated = other[1].upper() if other else value
        if stated == "USD":
            return
        message = "a pricing book is in USD, and other currencies are not converted; write USD, or enter a bill's own "
        message += "currency in plans.yaml"
        self.findings.append(error("currency_not_usd", place, message, actual=stated, expected="USD"))

    def _dropped_type(self, kind: inspect.Type, value: Any, place: str) -> Any:
        if isinstance(kind, inspect.LiteralType):
            wanted = " or ".join(map(str, kind.values))
            actual = shown(value) if type(value) is str else _kind(value)
        else:
            wanted, actual = _WORDS[type(kind)], _kind(value)
        if not isinstance(value, _Constant):
            message = f"is {actual}, not {wanted}; write {wanted}, or leave it out"
            self.findings.append(error("wrong_type", place, message, actual=actual, expected=wanted))
        return self._dropped(place)

    def _dropped(self, place: str) -> Any:
        self.broken.add(printable(place))
        return _DROPPED


def _kind(value: Any) -> str:
    if isinstance(value, _NoNumber):
        return "a number"
    return next((word for kind, word in _KINDS.items() if isinstance(value, kind)), "a number")


def _whole(text: str) -> str:
    """The text with what is no character replaced, so that it can be shown and written."""
    return text if _is_unicode(text) else text.encode("utf-8", "replace").decode("utf-8")

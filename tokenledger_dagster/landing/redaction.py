"""What of a CLIProxyAPI record may be written down (``docs/contracts/feeder-cliproxyapi.md``, "Redaction").

Here: one rule per field, from ``cliproxyapi_fields.csv``, and the rule for fields nobody knows yet.  Not here: writing.
Only what is named survives: a field that a later version adds keeps its numbers, and loses its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tokenledger_dagster.clients.veil import veiled

_FIELDS = Path(__file__).with_name("cliproxyapi_fields.csv")
_DEPTH = 12
_NAME = re.compile(r"[A-Za-z0-9_.:/\[\]()+ -]{1,128}")
_KEY_LIKE = re.compile(r"(?i)(?:^|[^a-z0-9])(?:[spr]k-|gh[opsu]_|xox[a-z]-|aiza|ya29\.|eyj)")
"""How keys and tokens begin: such text is none of a model's name, wherever a proxy's owner put it."""
_TIME = re.compile(r"[0-9TtZz:.,+ -]{1,40}")
_NUMBER = re.compile(r"-?\d{1,20}")
_ENDPOINT = re.compile(r"[A-Z]{3,7} /[a-z0-9_/.:-]{0,64}")
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z_.-]{0,31}/\d{1,4}(?:\.\d{1,6}){0,3}\b")
_KEY = re.compile(r"[a-z]{1,24}(?:_[a-z0-9]{1,16}){0,5}")
_WORD = re.compile(r"[a-z_]{1,24}")
_LARGEST = 2**63

Rule = Callable[[Any], Any]


def redacted(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record without anything secret: what a rule leaves nothing of is left out."""
    rules = field_rules()
    found: dict[str, Any] = {}
    for name, value in record.items():
        rule = rules.get(name)
        left = _RULES[rule](value) if rule is not None else _unknown(value, 0)
        if left is not None:
            found[name if rule is not None else _known_key(name)] = left
    return found


def endpoint_or_veil(name: str) -> str:
    """An endpoint as it is, anything else (a key, mostly) by its stand-in."""
    return name if _ENDPOINT.fullmatch(name) else veiled(name)


def name_or_veil(name: str) -> str:
    """A model's name as it is, free text by its stand-in."""
    return name if _NAME.fullmatch(name) and not _KEY_LIKE.search(name) else veiled(name)


@cache
def field_rules() -> dict[str, str]:
    """Rule by field."""
    rows = _FIELDS.read_text("utf-8").splitlines()[1:]
    return {name: rule for name, _, rule in (row.partition(",") for row in rows)}


def _number(value: Any) -> Any:
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else None
    if isinstance(value, float):
        return value if value - value == 0 else None
    return value if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def _matching(pattern: re.Pattern[str]) -> Rule:
    return lambda value: value if isinstance(value, str) and pattern.fullmatch(value) else None


def _name(value: Any) -> Any:
    found = isinstance(value, str) and _NAME.fullmatch(value) and not _KEY_LIKE.search(value)
    return value if found else None


def _time(value: Any) -> Any:
    return value if isinstance(value, str) and _TIME.fullmatch(value) else _number(value)


def _product(value: Any) -> Any:
    found = _PRODUCT.match(value) if isinstance(value, str) else None
    return found[0] if found else None


def _veil(value: Any) -> Any:
    return veiled(value) if isinstance(value, str) else None


def _index(value: Any) -> Any:
    kept = _number(value)
    return veiled(value) if kept is None and isinstance(value, str) else kept


def _failure(value: Any) -> Any:
    status = _number(value.get("status_code")) if isinstance(value, dict) else None
    return {"status_code": status} if status is not None else None


def _counts(value: Any) -> Any:
    return _unknown(value, 0, words=True)


def _unknown(value: Any, depth: int, *, words: bool = False) -> Any:
    """Numbers of whatever this is; of counts also the single words that say how good they are."""
    if depth > _DEPTH:
        return None
    if isinstance(value, dict):
        parts = ((_known_key(name), _unknown(one, depth + 1, words=words)) for name, one in value.items())
        return {name: one for name, one in parts if one is not None}
    if isinstance(value, list):
        return [_unknown(one, depth + 1, words=words) for one in value[:1_000]]
    if words and isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return _number(value)


def _known_key(name: str) -> str:
    return name if _KEY.fullmatch(name) else veiled(name)


_RULES: dict[str, Rule] = {
    "number": _number,
    "time": _time,
    "name": _name,
    "endpoint": _matching(_ENDPOINT),
    "product": _product,
    "veil": _veil,
    "index": _index,
    "failure": _failure,
    "counts": _counts,
    "drop": lambda _: None,
}

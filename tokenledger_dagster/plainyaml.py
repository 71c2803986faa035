"""YAML files that a person writes by hand: read strictly, refused with one line that names file, place and remedy.

Scalars are read by the type of their field and not by YAML's guesses: an amount is the text that was written and never
a float, an account hash of digits stays text, `no` is no truth value. Aliases and tags are refused. Here: nothing that
knows what such a file is about (`pricing/plans.py`, `models/overrides.py`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar, get_args

import msgspec

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.printable import printable

_Kind = TypeVar("_Kind")
_LARGEST_FILE = 1_048_576
_LONGEST_VALUE = 10_000
_DEEPEST = 8
_NULLS = ("", "~", "null", "Null", "NULL")
_REMEDIES = {
    "Invalid RFC3339": "is no day; write it as 2026-01-31",
    "Expected `date": "is no day; write it as 2026-01-31",
    "Invalid decimal": "is no number; write it as 18.40",
    "Expected `decimal": "is no number; write it as 18.40",
    "Expected `bool": "is neither true nor false; write one of them",
    "Expected `int` >": "is too small; write a larger number",
    "Expected `int` <": "is too large; write a smaller number",
    "Expected `int": "is no whole number; write one",
    "Expected `array": "is no list; write `- ` before each entry",
    "Expected `object": "is no mapping; write `name: value` lines",
    "Expected `str` matching": "is empty or not spelt as it must be; use plain letters and digits",
    "Expected `str` of": "is too long; shorten it",
    "Expected `str": "is no text; write one",
}
"""What msgspec says of a value -> what is wrong and the remedy."""


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was written in a file: no key may be unknown."""


class YamlFile(NamedTuple):
    """One kind of file: how its errors are raised, and the names of what stands in it."""

    error: type[TokenLedgerError]
    noun: str
    """What it is read as, for errors: `plans`."""
    key: Any = str
    """The type of names of entries."""
    parts: Mapping[str, type[msgspec.Struct]] = MappingProxyType({})
    """Types of entries within entries, by field."""
    choices: Mapping[str, Any] = MappingProxyType({})
    """Literal types by field."""

    def document(self, path: Path, *keys: str) -> dict[str, Any]:
        """Return the top level, {} where it is empty; FileNotFoundError where there is none."""
        try:
            document = _read(path)
        except FileNotFoundError as error:
            if path.is_symlink():
                raise self.error(f"{path}: leads to a file that is not there; restore it or remove the link") from error
            raise
        except (OSError, ValueError) as error:
            reason = printable(" ".join(str(error).split()))[:300]
            raise self.error(f"{path}: cannot be read as {self.noun} ({reason}); mend it or take it away") from error
        if document is None:
            return {}
        if not isinstance(document, dict):
            raise self.error(f"{path}: is no mapping; begin with `schema_version: 1`")
        for key in document:
            if key not in ("schema_version", *keys):
                raise self.error(f"{path}: unknown key {shown(key)}; use one of schema_version, {', '.join(keys)}")
        if document.get("schema_version") != "1":
            raise self.error(f"{path}: schema_version is not 1; write `schema_version: 1` or use a newer TokenLedger")
        return document

    def entries(self, document: dict[str, Any], key: str, kind: type[_Kind], path: Path) -> _Kind:
        """Return the list or mapping under a key, empty where it is not given."""
        entries = document.get(key)
        if entries is None:
            return kind()
        if not isinstance(entries, kind):
            raise self.error(f"{path}: {key}: {_REMEDIES['Expected `array' if kind is list else 'Expected `object']}")
        return entries

    def by_key(self, kind: type[_Kind], entries: dict[str, Any], path: Path, place: str) -> dict[str, _Kind]:
        """Return entries by their name, each as its type."""
        for name in entries:
            self.convert(self.key, name, path, f"{place}: {shown(name)}")
        return {name: self.convert(kind, entry, path, f"{place}: {name}") for name, entry in entries.items()}

    def convert(self, kind: Any, value: Any, path: Path, place: str) -> Any:
        """Return a value as its type; `place` is where it stands, for errors."""
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError as error:
            what, _, at = str(error).partition(" - at `$")
            steps = [step for step in at.rstrip("`").split(".") if step]
            raise self.error(f"{': '.join((str(path), place, *steps))}: {self._problem(what, kind, steps)}") from error

    def _problem(self, what: str, kind: Any, steps: list[str]) -> str:
        """What is wrong and the remedy, in the file's words instead of msgspec's."""
        field = steps[-1].partition("[")[0] if steps else ""
        named = shown(what.partition("`")[2].rstrip("`"))
        if what.startswith("Object contains unknown field"):
            return f"unknown key {named}; use one of {', '.join(self.parts.get(field, kind).__struct_encode_fields__)}"
        if what.startswith("Object missing required field"):
            return f"{named} is missing; add it"
        if what.startswith("Invalid enum value"):
            return f"is none of {', '.join(get_args(self.choices[field]))}; use one of them"
        return next((remedy for words, remedy in _REMEDIES.items() if what.startswith(words)), what)


def shown(text: str) -> str:
    """Return text from a file as an error message may show it."""
    return printable(text if len(text) <= 60 else text[:60] + "...")


def _read(path: Path) -> Any:
    """What a YAML file holds, every scalar as its text and null as None; ValueError where it cannot be read so."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")
    import yaml  # takes longer to load than most syncs take; mostly there is no such file

    with path.open("rb") as handle:
        content = handle.read(_LARGEST_FILE + 1)
    if len(content) > _LARGEST_FILE:
        raise ValueError("it is larger than 1 MB")
    try:
        # the C loader is in every published wheel; a PyYAML built without libyaml has only the other one
        events = yaml.parse(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        next(events)
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        tree = _tree(events, next(events), 0)
        next(events)
        if not isinstance(next(events), yaml.StreamEndEvent):
            raise ValueError("it holds more than one document")
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace('"<byte string>", ', "")) from error
    return tree


def _tree(events: Iterator[Any], event: Any, depth: int) -> Any:
    import yaml

    line = f"line {event.start_mark.line + 1}"
    if isinstance(event, yaml.AliasEvent) or event.tag is not None:
        raise ValueError(f"{line}: aliases and tags are not read, write the value out")
    if isinstance(event, yaml.ScalarEvent):
        if len(event.value) > _LONGEST_VALUE:
            raise ValueError(f"{line}: a value is longer than {_LONGEST_VALUE:,} characters")
        return None if event.implicit[0] and event.value in _NULLS else event.value
    if depth == _DEEPEST:
        raise ValueError(f"{line}: nested too deep")
    if isinstance(event, yaml.SequenceStartEvent):
        items = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            items.append(_tree(events, item, depth + 1))
        return items
    mapping: dict[str, Any] = {}
    while not isinstance(item := next(events), yaml.MappingEndEvent):
        line = f"line {item.start_mark.line + 1}"
        key = _tree(events, item, depth + 1)
        if not isinstance(key, str) or not key:
            raise ValueError(f"{line}: a key is no name")
        if key in mapping:
            raise ValueError(f"{line}: {shown(key)} is given twice")
        mapping[key] = _tree(events, next(events), depth + 1)
    return mapping

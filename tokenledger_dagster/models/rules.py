"""The naming data, read once: catalogue, aliases, rewriting rules, makers, reserved words and contexts.

Here: loading and indexing the CSV files under `config/`, nothing else. How the rules are applied to a name is
`names.py`. Every table is read on first use and kept for the life of the process.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import msgspec

NO_DAY = "~"
"""Sorts behind every day."""
CONFIG_DIRECTORY = Path(__file__).resolve().parents[2] / "config"


class RewriteRule(msgspec.Struct, frozen=True):
    """One row of `model_rules.csv`: a pattern, what replaces it, and the modifiers it takes out of the name."""

    name: str
    written: str
    """The pattern as text."""
    replacement: str
    modifiers: tuple[tuple[str, str], ...]
    confidence: int
    added: str
    """Day on which the rule was first written down, `YYYY-MM-DD`."""

    @property
    def pattern(self) -> re.Pattern[str]:
        """The pattern, compiled when it is first asked for: most names are told by the first third of the rules."""
        return _compiled(self.written)


class MakerRule(msgspec.Struct, frozen=True):
    """One row of `model_makers.csv`: a pattern and the maker it tells, None for what must be nobody's."""

    name: str
    pattern: re.Pattern[str]
    maker: str | None
    added: str
    """Day on which the rule was first written down, `YYYY-MM-DD`."""


class Context(msgspec.Struct, frozen=True):
    """One row of `model_contexts.csv`: whose log or table a name stands in."""

    client: str
    """The client's own id (`claude-code`), for aliases that hold for one client only."""
    channel: str
    """Who bills whatever runs there; empty where that depends on the model."""


class Alias(msgspec.Struct, frozen=True):
    """One row of `model_aliases.csv`: another name of a model on the days `valid_from` <= day < `valid_to`."""

    client: str
    valid_from: str
    valid_to: str
    model: str
    modifiers: tuple[tuple[str, str], ...]
    confidence: int

    def applies(self, client: str, day: str | None) -> bool:
        """Say whether the alias holds for this client on this UTC day (empty bounds and clients match all).

        Without a day only what holds on every day does.
        """
        if self.client and self.client != client:
            return False
        if day is None:
            return not self.valid_from and not self.valid_to
        return self.valid_from <= day and (not self.valid_to or day < self.valid_to)


def squash(name: str) -> str:
    """Return the spelling-independent key of a name: dots, underscores and blanks become dashes."""
    return re.sub(r"[._\s]+", "-", name)


def read_config(file_name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file under `config/`, every value as text.

    Raises:
        FileNotFoundError: the file is not in the checkout's `config/` directory.
    """
    import csv

    with (CONFIG_DIRECTORY / file_name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@cache
def catalog() -> dict[str, str]:
    """Return the maker of every known canonical model id."""
    return {row["model"]: row["maker"] for row in read_config("model_catalog.csv")}


@cache
def catalog_by_spelling() -> dict[str, str]:
    """Return the canonical id for every squashed spelling."""
    return {squash(model): model for model in catalog()}


@cache
def aliases() -> dict[str, tuple[Alias, ...]]:
    """Return the dated aliases of every alternative name, keyed by the squashed name."""
    table: dict[str, tuple[Alias, ...]] = {}
    for row in read_config("model_aliases.csv"):
        alias = Alias(
            client=row["client"],
            valid_from=row["valid_from"],
            valid_to=row["valid_to"],
            model=row["model"],
            modifiers=_pairs(row["modifiers"]),
            confidence=int(row["confidence"]),
        )
        key = squash(row["alias"])
        table[key] = (*table.get(key, ()), alias)
    return table


def steady_days(day: str) -> tuple[str, str]:
    """Return the days from which and before which no alias begins or ends, around a UTC day."""
    bounds = {bound for found in aliases().values() for alias in found for bound in (alias.valid_from, alias.valid_to)}
    return max((bound for bound in bounds if bound <= day), default=""), min(
        (bound for bound in bounds if bound > day), default=NO_DAY
    )


_compiled = cache(re.compile)


@cache
def rewrite_rules() -> tuple[RewriteRule, ...]:
    """Return the rewriting rules in the order they are tried."""
    return tuple(
        RewriteRule(
            name=row["rule"],
            written=row["pattern"],
            replacement=row["replacement"],
            modifiers=_pairs(row["modifiers"]),
            confidence=int(row["confidence"]),
            added=row["added"],
        )
        for row in read_config("model_rules.csv")
    )


@cache
def reserved_names() -> dict[str, tuple[str, str | None]]:
    """Return kind and maker of the names that never identify one model (routers, families, placeholders)."""
    return {row["name"]: (row["kind"], row["maker"] or None) for row in read_config("model_reserved.csv")}


@cache
def maker_rules() -> tuple[MakerRule, ...]:
    """Return the rules by which the maker of an otherwise unknown id is recognised, in the order they are tried."""
    return tuple(
        MakerRule(name=row["rule"], pattern=re.compile(row["pattern"]), maker=row["maker"] or None, added=row["added"])
        for row in read_config("model_makers.csv")
    )


def context(name: str) -> Context:
    """Return the context of a client's or tool's name in any spelling; an unknown one is its own client."""
    key = re.sub(r"[._\s-]+", "-", name.strip().lower())
    return _contexts().get(key) or Context(client=key, channel="")


@cache
def maker_channels() -> dict[str, str]:
    """Return the channel on which each maker sells its own models (`channels.csv`), where it is not the maker's id."""
    return {row["key"]: row["channel"] for row in read_config("channels.csv") if row["kind"] == "maker"}


@cache
def _contexts() -> dict[str, Context]:
    return {
        row["context"]: Context(client=row["client"], channel=row["channel"])
        for row in read_config("model_contexts.csv")
    }


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (part.split("=", 1) for part in text.split(";") if part)
    return tuple((key, value) for key, value in pairs)

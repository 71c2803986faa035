"""From the model string of a log to a canonical model, its maker and the modifiers that were inside the name.

The catalogue is asked after every rewriting step and the first hit wins, so a suffix that is part of an identity
(`gpt-5.1-codex-max`, `kimi-k2-thinking`) is never mistaken for a mode. A name is never shortened to a shorter known
model: what no rule explains keeps its own spelling at a confidence too low to be priced.

Not here: the naming data (`config/model_*.csv`, read by `rules.py`) and prices.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from tokenledger_dagster.models import rules
from tokenledger_dagster.models.kept import MISSING, kept_names

SYNTHETIC = "<synthetic>"
"""Model written for messages a client made up itself: no request, no tokens, price 0."""

UNKNOWN = "unknown"
"""Model of an event whose log names none."""

CODEX_FALLBACK_MODEL = "gpt-5"
"""Codex builds of September 2025 logged no model; GPT-5 was their default."""

# a name passes at most: channel, region, maker, version, date and a few modes
_MAX_REWRITES = 12
# the longest real ones are ARNs of some 150 characters; beyond this it is text, which no pattern should search
_LONGEST_NAME = 300

MAKER_BY_NAME_CONFIDENCE = 90
"""How sure a maker is that only the family's name in an otherwise unknown id tells."""


class ModelName(msgspec.Struct, frozen=True):
    """A resolved model name. Treat `modifiers` as read-only: resolved names are shared between calls."""

    model: str
    """Canonical id, e.g. `claude-opus-4-5`, `gpt-5.1-codex-max`, `<synthetic>`, `unknown`."""
    maker: str | None
    """Who made the model (`anthropic`, `openai`, `xai`, ...), None when the name does not tell."""
    modifiers: dict[str, str]
    """What the name said beyond the identity: date, region, channel, effort, speed, context, thinking, ..."""
    rule: str
    """The least certain rule on the way, or `exact`."""
    confidence: int
    """100 exact, 98 prefix, 95 date or version, 92 spelling, 90 mode, 85 curated alias, below 60 never priced."""


class Resolution(msgspec.Struct, frozen=True):
    """A resolved name with how it was found."""

    name: ModelName
    channel: str | None
    """Who bills, where the name's prefix tells; kept even where the name stays unknown."""
    maker_rule: str
    """The row of `model_makers.csv` that told the maker, `catalogue`, or empty."""
    maker_confidence: int


class _Step(msgspec.Struct, frozen=True):
    text: str
    modifiers: dict[str, str]
    rule: str
    confidence: int

    def weakened(self, rule: str, confidence: int, **changes: object) -> _Step:
        decided = {"rule": rule, "confidence": confidence} if confidence < self.confidence else {}
        return msgspec.structs.replace(self, **changes, **decided)


_UNTRIED = _Step(text="", modifiers={}, rule="exact", confidence=100)
"""Stands for a name that no rule is tried on."""


@lru_cache(maxsize=65536)
def resolve_model(model_raw: str | None, client: str, day: str) -> ModelName:
    """Return the canonical model a log's model string stands for.

    Args:
        model_raw: the string as logged; None or blank where the log names no model.
        client: the program that wrote the log (`claude-code`, `codex`, ...).
        day: UTC day of the event, `YYYY-MM-DD`; moving labels are resolved by it.

    Returns:
        The resolved name. An unknown name keeps itself as `model` at a confidence below 60.
    """
    kept = kept_names()
    found = kept.get((client, model_raw), day)
    if found is MISSING:
        raw = (model_raw or "").strip()
        name, left = _explained(raw, client, day)
        found = name or _unknown(raw, left).name
        if kept.recording:
            kept.add((client, model_raw), *rules.steady_days(day), found)
    return found  # type: ignore[no-any-return]


def resolve(model_raw: str | None, client: str, day: str | None) -> Resolution:
    """Return the same with the reason for its maker, and nothing kept.

    Args:
        model_raw: the string as logged.
        client: the program that wrote the log.
        day: UTC day of the event; None where it is not known: moving labels then stay unresolved.
    """
    raw = (model_raw or "").strip()
    name, left = _explained(raw, client, day)
    return _unknown(raw, left) if name is None else _reasoned(name, left)


def _explained(raw: str, client: str, day: str | None) -> tuple[ModelName | None, _Step]:
    """Return a name as the rules explain it, None where they do not, and what they left of it on the way."""
    if not raw:
        return _without_name(client), _UNTRIED
    if raw == SYNTHETIC:
        return ModelName(model=SYNTHETIC, maker=None, modifiers={}, rule="synthetic", confidence=100), _UNTRIED
    if len(raw) > _LONGEST_NAME:
        return _named_by_itself(raw, None), _UNTRIED
    step = _Step(text=re.sub(r"\s+", "-", raw.lower()), modifiers={}, rule="exact", confidence=100)
    for _ in range(_MAX_REWRITES):
        if step.text in rules.reserved_names():
            break
        if found := _look_up(step, client, day):
            return found, step
        rewritten = _rewrite(step)
        if rewritten is None:
            break
        step = rewritten
    return None, step


def taken_apart(model_raw: str) -> tuple[str, dict[str, str]]:
    """Return what is left of a name after every rule that fits, and the modifiers that the rules took out of it.

    For comparing names that stay unknown; a known name is resolved, not taken apart.
    """
    step = _Step(text=re.sub(r"\s+", "-", model_raw.strip().lower()), modifiers={}, rule="exact", confidence=100)
    for _ in range(_MAX_REWRITES if len(model_raw) <= _LONGEST_NAME else 0):
        rewritten = _rewrite(step)
        if rewritten is None:
            break
        step = rewritten
    return step.text, step.modifiers


def maker_of(model: str) -> str | None:
    """Return who made a canonical model, None for ids outside the catalogue."""
    return rules.catalog().get(model)


def _without_name(client: str) -> ModelName:
    if client == "codex":
        return ModelName(
            model=CODEX_FALLBACK_MODEL, maker="openai", modifiers={}, rule="codex.fallback_model", confidence=60
        )
    return ModelName(model=UNKNOWN, maker=None, modifiers={}, rule="missing", confidence=0)


def _look_up(step: _Step, client: str, day: str | None) -> ModelName | None:
    if step.text in rules.catalog():
        return _named(step.text, step)
    spelling = rules.squash(step.text)
    for alias in rules.aliases().get(spelling, ()):
        if alias.applies(client, day):
            modifiers = {**step.modifiers, **dict(alias.modifiers)}
            return _named(alias.model, step.weakened(f"alias.{step.text}", alias.confidence, modifiers=modifiers))
    if model := rules.catalog_by_spelling().get(spelling):
        return _named(model, step.weakened("spelling.separators", 92))
    return None


def _rewrite(step: _Step) -> _Step | None:
    for rule in rules.rewrite_rules():
        match = rule.pattern.match(step.text)
        if match is None:
            continue
        text = match.expand(rule.replacement)
        if text in ("", step.text):
            continue
        # the outermost statement stands: `openrouter/...` decides the channel, not an inner `openai/`
        modifiers = {**{key: match.expand(value) for key, value in rule.modifiers}, **step.modifiers}
        return step.weakened(rule.name, rule.confidence, text=text, modifiers=modifiers)
    return None


def _named(model: str, step: _Step) -> ModelName:
    return ModelName(
        model=model,
        maker=rules.catalog().get(model),
        modifiers=step.modifiers,
        rule=step.rule,
        confidence=step.confidence,
    )


def _unknown(raw: str, step: _Step) -> Resolution:
    # the stripped modifiers are not trusted either: an unknown suffix may be part of the identity
    channel = step.modifiers.get("channel")
    if step.text in rules.reserved_names():
        kind, maker = rules.reserved_names()[step.text]
        rule = f"reserved.{kind}"
        name = ModelName(
            model=UNKNOWN if kind == "non_model" else raw, maker=maker, modifiers={}, rule=rule, confidence=0
        )
        return Resolution(name, channel, rule if maker else "", MAKER_BY_NAME_CONFIDENCE if maker else 0)
    found = _maker_rule(step.text)
    if found is None or found.maker is None:
        return Resolution(_named_by_itself(raw, None), channel, found.name if found else "", 0)
    return Resolution(_named_by_itself(raw, found.maker), channel, found.name, MAKER_BY_NAME_CONFIDENCE)


def _named_by_itself(raw: str, maker: str | None) -> ModelName:
    return ModelName(model=raw, maker=maker, modifiers={}, rule="unknown_name", confidence=30 if maker else 10)


def _reasoned(name: ModelName, step: _Step) -> Resolution:
    channel = step.modifiers.get("channel")
    if name.maker is None:
        return Resolution(name, channel, "", 0)
    found = _maker_rule(name.model)
    told = found is not None and found.maker == name.maker
    sure = max(name.confidence, MAKER_BY_NAME_CONFIDENCE) if told else name.confidence
    return Resolution(name, channel, found.name if told and found else "catalogue", sure)


def _maker_rule(text: str) -> rules.MakerRule | None:
    return next((rule for rule in rules.maker_rules() if rule.pattern.search(text)), None)

"""Under which channel and in which context a request is looked up in the rate table.

The channel is who bills, under the price list's own provider id (`config/channels.csv`); the context is what changes
the price of the same model on the same channel: speed, service tier, batch, endpoint. Rates: `rate_table.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from tokenledger_dagster.models.names import ModelName
from tokenledger_dagster.models.rules import read_config
from tokenledger_dagster.pricing.rates import STANDARD

UNKNOWN_CHANNEL = "unknown"
UNKNOWN_PROVIDER = "unknown"

_BATCH = "processing=batch"
_FAST = "speed=fast"
_ORDINARY = ("", "standard", "default", "auto", "normal")
"""Tiers and speeds that say nothing special."""


def channel_for(client: str, name: ModelName, message_id: str | None, upstream: str | None = None) -> str:
    """Return the price list's provider id of whoever billed the request.

    In this order: a channel named in the model string (`openrouter/...`, Bedrock, Vertex), the message id's prefix,
    whoever the log names, a client that bills by its own list (Cursor, Copilot), the maker's own channel, the client's
    usual one.
    """
    if channel := name.modifiers.get("channel"):
        return channel
    for prefix, channel in channels("message_prefix").items():
        if message_id and message_id.startswith(prefix):
            return channel
    if upstream and (channel := channels("upstream").get(upstream)):
        return channel
    if channel := channels("client").get(client):
        return channel
    if name.maker is not None:
        return channels("maker").get(name.maker, name.maker)
    return channels("client_default").get(client, UNKNOWN_CHANNEL)


def provider_for(client: str, name: ModelName, upstream: str | None = None) -> str:
    """Return the pricing book's key of whoever serves and bills the request (`config/providers.csv`).

    In this order: whoever the log names, the client that bills its own requests, the model's maker.
    """
    if upstream:
        return _providers("upstream").get(upstream, upstream)
    if provider := _providers("client").get(client):
        return provider
    if name.maker is not None:
        return _providers("maker").get(name.maker, name.maker)
    return UNKNOWN_PROVIDER


def billing_provider(client: str, name: ModelName, message_id: str | None, upstream: str | None = None) -> str:
    """Return the pricing book's key of whoever billed this very request.

    Mostly that of its client; where the request itself names its channel (model string, message id), that channel's.
    """
    channel = name.modifiers.get("channel") or next(
        (found for prefix, found in channels("message_prefix").items() if message_id and message_id.startswith(prefix)),
        None,
    )
    if channel:
        return _providers("channel").get(channel, channel)
    return provider_for(client, name, upstream)


def booked_provider(client: str, name: ModelName, upstream: str | None, channel: str) -> str:
    """Return the same of a booked request, whose message id is told by the channel it was given alone."""
    if channel == channel_for(client, name, None, upstream):
        return billing_provider(client, name, None, upstream)
    return provider_of_channel(channel)


def provider_key(name: str) -> str:
    """Return the key that requests are booked under for a provider, however a person calls it (`openai`: `codex`)."""
    return _providers("upstream").get(name, name)


def is_provider_key(name: str) -> bool:
    """Say whether requests are booked under this very name by the rules of `config/providers.csv`."""
    return any(name in _providers(kind).values() for kind in ("client", "upstream", "maker", "channel"))


def provider_of_channel(channel: str) -> str:
    """Return the pricing book's key of whoever bills on a channel of the price list."""
    return _providers("channel").get(channel, channel)


def channel_of_provider(provider: str) -> str | None:
    """Return the price list's provider id of a pricing book's key; None for who has no list of its own (`droid`)."""
    found = {key: channel for channel, key in _providers("channel").items()}
    return found.get(provider) or channels("price_list").get(provider)


def requested_context(client: str, speed: str | None, service_tier: str | None, modifiers: Mapping[str, str]) -> str:
    """Return the canonical pricing context a request asked for.

    `standard`, or its parts joined by `;` in fixed order: one of `speed=fast`, `processing=batch`,
    `service_tier=priority|flex`, then `endpoint=global` (Bedrock; its bare and regional ids are the standard there),
    then `variant=free`. Codex calls its priority tier fast, so a `fast` tier is `speed=fast`. A tier or speed that
    nobody knows, a misspelt one for example, stands as it is: it is priced standard, and the event says both.
    """
    parts = [part for part in (_urgency(speed, service_tier, modifiers), _endpoint(modifiers)) if part]
    if modifiers.get("variant") == "free":
        parts.append("variant=free")
    return ";".join(parts) or STANDARD


def plain_context(context: str) -> str:
    """Return a context without speed, tier and batch: what is left says where and which model, not how fast."""
    kept = [part for part in context.split(";") if part.startswith(("endpoint=", "variant="))]
    return ";".join(kept) or STANDARD


def channels(kind: str) -> dict[str, str]:
    """Return one kind of rows of `config/channels.csv` as key -> channel."""
    return _channels().get(kind, {})


@cache
def _providers(kind: str) -> dict[str, str]:
    return {row["key"]: row["provider"] for row in read_config("providers.csv") if row["kind"] == kind}


@cache
def _channels() -> dict[str, dict[str, str]]:
    kinds: dict[str, dict[str, str]] = {}
    for row in read_config("channels.csv"):
        kinds.setdefault(row["kind"], {})[row["key"]] = row["channel"]
    return kinds


def _urgency(speed: str | None, service_tier: str | None, modifiers: Mapping[str, str]) -> str | None:
    tier = (service_tier or "").strip().lower()
    if "fast" in ((speed or "").strip().lower(), tier, modifiers.get("speed")):
        return _FAST
    if tier == "batch" or modifiers.get("processing") == "batch":
        return _BATCH
    if tier not in _ORDINARY:
        return f"service_tier={tier}"
    pace = (speed or "").strip().lower()
    return None if pace in _ORDINARY else f"speed={pace}"


def _endpoint(modifiers: Mapping[str, str]) -> str | None:
    if modifiers.get("channel") == "aws" and modifiers.get("region") == "global":
        return "endpoint=global"
    return None

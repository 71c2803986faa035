"""Figures against figures, key by key.

Here: which figures there are, and what is told of one that differs.  Not here: where either side comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

COUNTED = (
    *("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens"),
    *("tool_input_tokens", "tool_output_tokens", "total_tokens"),
    *("cache_write_1h_tokens", "reasoning_tokens", "web_search_requests"),
    *("unpriced_tokens", "unpriced_count", "event_count", "session_count", "estimated_tokens"),
)
MONEY = ("list_price_usd", "effective_cost_usd")
Figures = (*COUNTED[:10], *MONEY, *COUNTED[10:], "first_time", "last_time", "models")
"""Columns of usage tables that are compared, where a table has them."""

Rows = Mapping[tuple[Any, ...], Mapping[str, Any]]


def differences(
    published: Rows, recomputed: Rows, keys: Sequence[str], figures: Sequence[str], *, place: str
) -> list[dict[str, Any]]:
    """Every figure that differs, by key; a row that one side lacks is told as one figure, ``row``.

    Args:
        published: figures by key as they were published; money in nano-USD.
        recomputed: the same as they should be.
        keys: names of the key's parts.
        figures: names of what is compared.
        place: what is compared, for the rows.

    Returns:
        Rows with the key, ``figure``, ``published``, ``recomputed`` and ``delta``, published minus recomputed; money is
        USD.
    """
    rows = []
    for key in sorted(published.keys() | recomputed.keys(), key=lambda key: [str(part) for part in key]):
        where = {"of": place, **dict(zip(keys, key, strict=True))}
        ours, theirs = published.get(key), recomputed.get(key)
        if ours is None or theirs is None:
            sides = {"published": int(ours is not None), "recomputed": int(theirs is not None)}
            rows.append({**where, "figure": "row", **sides, "delta": 1 if theirs is None else -1})
            continue
        rows += [
            {**where, "figure": name, **_sides(name, ours[name], theirs[name])}
            for name in figures
            if ours[name] != theirs[name]
        ]
    return rows


def _sides(name: str, ours: Any, theirs: Any) -> dict[str, Any]:
    if name in MONEY or name.endswith("_usd"):
        ours, theirs = (None if one is None else Decimal(one).scaleb(-9) for one in (ours, theirs))
    numbers = isinstance(ours, (int, Decimal)) and isinstance(theirs, (int, Decimal))
    return {"published": ours, "recomputed": theirs, "delta": ours - theirs if numbers else None}

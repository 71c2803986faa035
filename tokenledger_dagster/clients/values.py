"""Reading single values that logs get wrong: counters, times, strings, and the usage object kept as evidence.

Here: tolerant conversions that never raise and say what they mended.  Not here: knowledge of any client's row layout.
Rules: log-format rules 4 and 6 in ``docs/clients/README.md``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

MAX_TOKENS_PER_REQUEST = 10_000_000_000
MICROS = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp()) * MICROS
EPOCH_FLAG_BEFORE_US = int(datetime(1971, 1, 1, tzinfo=UTC).timestamp()) * MICROS
Flag = Callable[[str], None]

_SAFE_USAGE = re.compile(
    rb'(?:[{}\[\]:,\s]|"(?:service_tier|speed|inference_geo)"\s*:\s*"[A-Za-z_\-]{0,24}"'
    rb'|"(?:type|model)"\s*:\s*"[A-Za-z0-9_.\-:/@\[\]]{0,64}"'
    rb'|"[A-Za-z0-9_]{1,64}"(?=\s*:)|-?\d{1,18}(?:\.\d{1,18})?(?![\d.eE])|true|false|null){1,600}'
)
_WORD = re.compile(r"[A-Za-z_\-]{1,24}")
_UPSTREAM = re.compile(r"[A-Za-z0-9_.\-:/]{1,64}")
_NAME = re.compile(r"[A-Za-z0-9_.\-:/@\[\]]{0,64}")
_ENUMS = {"service_tier": _WORD, "speed": _WORD, "inference_geo": _WORD, "type": _NAME, "model": _NAME}
_MICROSECOND_LENGTH = len("2026-01-01T00:00:00.123456")
_FINER = re.compile(r"[.,]\d{6}(\d)")
_KEY = re.compile(r"[A-Za-z0-9_]{1,64}")


def count(value: object, flag: Flag) -> int:
    """Tokens in ``value``; anything that is no count is 0 and flagged, so that the row itself is kept."""
    if isinstance(value, int) and not isinstance(value, bool):
        if 0 <= value <= MAX_TOKENS_PER_REQUEST:
            return value
        flag("counter_negative" if value < 0 else "counter_overflow")
        return 0
    if value is None:
        return 0
    if isinstance(value, float):
        if math.isfinite(value) and value == int(value):
            return count(int(value), flag)
        flag("counter_not_a_count")
        return 0
    if isinstance(value, str):
        text = value.strip()
        if text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 20:
            return count(int(text), flag)
    flag("counter_not_a_count")
    return 0


def text(value: object, limit: int = 1024) -> str | None:
    """``value`` if it is a usable string (valid UTF-8, no NUL, bounded), else None."""
    if not isinstance(value, str) or not value:
        return None
    if not value.isprintable():
        value = value.encode("utf-8", "replace").decode("utf-8").replace("\x00", "")
    return value[:limit] or None


def word(value: object) -> str | None:
    """``value`` if it is one plain word, as tiers and speeds are; free text is never kept."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def upstream(value: object) -> str | None:
    """Who served a request, as the log names it, in small letters; what is no plain id is not kept."""
    return value.lower() if isinstance(value, str) and _UPSTREAM.fullmatch(value) else None


def time_us(value: object) -> int | None:
    """Microseconds since 1970 UTC of an RFC 3339 string or an epoch number in s, ms, us or ns; None if it is neither.

    A time without zone is UTC.  The unit of a number is told by its magnitude, as no log of this century overlaps.
    """
    if isinstance(value, str):
        if _is_number(value):
            return time_us(float(value))
        try:
            # RFC 3339 allows small letters
            parsed = datetime.fromisoformat(value.upper())
        except ValueError:
            return None
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=UTC)
        try:
            delta = parsed - EPOCH
        except OverflowError:
            return None
        # the standard library cuts what is finer than a microsecond off; the fast readers' decoder rounds it
        finer = _FINER.search(value) if len(value) > _MICROSECOND_LENGTH else None
        rounded = finer is not None and finer[1] >= "5"
        return _in_calendar((delta.days * 86_400 + delta.seconds) * MICROS + delta.microseconds + rounded)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0:
        for limit, scale in ((1e11, MICROS), (1e14, 1_000), (1e17, 1)):
            if value < limit:
                return _in_calendar(round(value * scale))
        return _in_calendar(round(value / 1_000))
    return None


def _in_calendar(timestamp_us: int) -> int | None:
    """A time that every zone can show, else None: such a row is dated by its next time, or by its file."""
    return timestamp_us if 0 <= timestamp_us <= _LAST_US else None


def _is_number(value: str) -> bool:
    """Eight digits are a date, nine and more an epoch time."""
    return 9 <= len(value) <= 24 and re.fullmatch(r"\d{9,}(\.\d+)?", value) is not None


def flag_odd_time(timestamp_us: int, now_us: int, flag: Flag) -> None:
    """Flags a time of the first epoch year, or more than a day ahead of ``now_us``."""
    if timestamp_us < EPOCH_FLAG_BEFORE_US:
        flag("timestamp_epoch")
    elif timestamp_us > now_us + 86_400 * MICROS:
        flag("timestamp_future")


def cost_nano(value: object) -> int | None:
    """Nano-USD of a cost in USD as logged; None when it is absent, zero, negative or no number."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if not math.isfinite(value) or value <= 0 or value > 1e6:
        return None
    return round(value * 1_000_000_000)


def safe_usage(raw: bytes) -> str | None:
    """The usage object as JSON text holding numbers, booleans, nulls and known enums only.

    Most logs pass the pattern untouched; anything else is decoded and rebuilt without its free text.
    """
    if len(raw) <= 4096 and _SAFE_USAGE.fullmatch(raw):
        return raw.decode("ascii")
    try:
        cleaned = _without_text(json.loads(raw.decode("utf-8", "replace")), 0)
        encoded = json.dumps(cleaned, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return encoded if len(encoded) <= 16_384 else None


def _without_text(value: Any, depth: int) -> Any:
    if depth > 8:
        return None
    if isinstance(value, dict):
        return {
            key: item if isinstance(item, str) else _without_text(item, depth + 1)
            for key, item in value.items()
            if _KEY.fullmatch(key)
            and (not isinstance(item, str) or (key in _ENUMS and (not item or _ENUMS[key].fullmatch(item))))
        }
    if isinstance(value, list):
        return [_without_text(item, depth + 1) for item in value[:64] if not isinstance(item, str)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) > 2**63:
        return None
    return value

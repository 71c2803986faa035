"""A status bar's view of TokenLedger: one line, from the files that it publishes.

Here: finding and reading ``ui-snapshot.json`` and ``orchestrate-latest-summary.json``, and the line.  Not here: any
figure; nothing of TokenLedger is imported, so the file may be copied.  Python 3.11 or later, no package.

    python status_bar.py                     # one line, for a bar that runs a command now and then
    python status_bar.py --watch 2           # a line whenever it changes
    python status_bar.py --json              # state and parts, for a program
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeGuard

SUPPORTED = 1
LARGEST_BYTES = 4 << 20
STALE_AFTER_S = 3600.0

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)

State = Literal["ok", "stale", "absent", "damaged", "unsupported"]


@dataclass(frozen=True)
class Read:
    """A published file, or why there is none; ``document`` stays null unless the state is ``ok``."""

    state: State
    document: dict[str, Any] | None = None


@dataclass(frozen=True)
class Line:
    """What a bar shows; ``text`` is empty where it should show nothing."""

    state: State
    text: str
    failed_checks: int = 0


def home(environ: Mapping[str, str], system: str) -> Path:
    """Where TokenLedger publishes."""
    if environ.get("TOKENLEDGER_HOME"):
        return Path(environ["TOKENLEDGER_HOME"])
    if environ.get("XDG_DATA_HOME", "").startswith("/"):
        return Path(environ["XDG_DATA_HOME"]) / "tokenledger"
    data = "Library/Application Support" if system == "darwin" else ".local/share"
    return Path(environ.get("HOME", "~")).expanduser() / data / "tokenledger"


def read(path: Path) -> Read:
    """Reads a document of a version that this program knows; never raises for what lies there."""
    try:
        with path.open("rb") as handle:
            data = handle.read(LARGEST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return Read("absent")
    except OSError:
        return Read("damaged")
    if len(data) > LARGEST_BYTES:
        return Read("damaged")
    try:
        document = json.loads(data.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError):
        return Read("damaged")
    if not isinstance(document, dict) or not _is_count(document.get("schema_version")):
        return Read("damaged")
    return Read("ok", document) if document["schema_version"] == SUPPORTED else Read("unsupported")


def line(folder: Path, now: float, stale_after_s: float = STALE_AFTER_S) -> Line:
    """The line of a home at a time in seconds since 1970."""
    snapshot = read(folder / "ui-snapshot.json")
    if snapshot.state == "unsupported":
        return Line("unsupported", "TokenLedger: update this extension")
    if snapshot.document is None:
        return Line(snapshot.state, "")
    shown = _shown(snapshot.document)
    made = _seconds(snapshot.document.get("generated_at"))
    if shown is None or made is None:
        return Line("damaged", "")
    failed = _failed(read(folder / "orchestrate-latest-summary.json"))
    age = max(now - made, 0.0)
    parts = [*shown, *([_age(age)] if age > stale_after_s else []), *([f"{failed} checks failed"] if failed else [])]
    return Line("stale" if age > stale_after_s else "ok", " | ".join(parts), failed)


class Watcher:
    """Reads again when a file was replaced, and keeps the last good line while one cannot be read."""

    def __init__(self, folder: Path, stale_after_s: float = STALE_AFTER_S) -> None:
        self._folder = folder
        self._stale_after_s = stale_after_s
        self._good: Line | None = None

    def look(self, now: float) -> Line:
        """The line to show now."""
        found = line(self._folder, now, self._stale_after_s)
        if found.state == "damaged" and self._good is not None:
            return self._good
        self._good = found if found.text else None
        return found


# -------------------------------------------------------------------- parts


def _shown(document: dict[str, Any]) -> list[str] | None:
    """Month, cost, tokens and the first model; None where the document lacks what its version promises."""
    month, totals, models = document.get("month"), document.get("totals"), document.get("top_models")
    if not isinstance(month, str) or not isinstance(totals, dict) or not isinstance(models, list):
        return None
    cost, tokens = totals.get("cost_usd"), totals.get("tokens")
    if not _is_number(cost) or not _is_count(tokens):
        return None
    name = models[0].get("name") if models and isinstance(models[0], dict) else None
    return [_clean(month), _usd(cost), _tokens(tokens), *([_clean(name)] if isinstance(name, str) else [])]


def _failed(summary: Read) -> int:
    checks = summary.document.get("checks") if summary.document else None
    failed = checks.get("failed") if isinstance(checks, dict) else None
    return int(failed) if _is_count(failed) else 0


def _usd(value: float) -> str:
    cents = math.floor(value * 100 + 0.5)
    return f"${cents // 100}.{cents % 100:02d}"


def _tokens(count: int) -> str:
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            tenths = int(count * 10 // size)
            return f"{tenths // 10}.{tenths % 10}{unit} tokens"
    return f"{int(count)} tokens"


def _age(seconds: float) -> str:
    return f"{math.floor(seconds / 3600)} h old" if seconds < 2 * 86400 else f"{math.floor(seconds / 86400)} d old"


def _seconds(value: object) -> float | None:
    """Seconds since 1970 of an RFC 3339 time in UTC."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value[:-1]).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _clean(text: str) -> str:
    """A name from somebody's log, without what would steer a terminal, at most 40 letters."""
    return "".join(letter for letter in text if " " <= letter < "\x7f" or letter > "\x9f")[:40]


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: object) -> TypeGuard[int]:
    return _is_number(value) and value == math.floor(value)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def main(argv: list[str] | None = None) -> int:
    """Prints the line, or follows it."""
    parser = argparse.ArgumentParser(description="One line of usage for a status bar.")
    parser.add_argument("--home", type=Path, default=home(os.environ, sys.platform), help="TokenLedger's home")
    parser.add_argument("--stale-after", type=float, default=STALE_AFTER_S, metavar="SECONDS", help="default: 3600")
    parser.add_argument("--watch", type=float, metavar="SECONDS", help="look again and again")
    parser.add_argument("--now", type=float, help="seconds since 1970 (default: the clock's)")
    parser.add_argument("--json", action="store_true", help="print state and parts")
    args = parser.parse_args(argv)
    watcher, last = Watcher(args.home, args.stale_after), None
    while True:
        found = watcher.look(time.time() if args.now is None else args.now)
        if found != last and (found.text or last or args.json):
            print(json.dumps(asdict(found)) if args.json else found.text, flush=True)
        last = found
        if args.watch is None:
            return 0
        time.sleep(args.watch)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None

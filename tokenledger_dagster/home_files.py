"""Names of what lies in a home, and where the home is when nobody says: all as text.

Here: the names that the first milliseconds of a command need.  Not here: the whole layout (`home.py`), other settings
(`settings.py`).  Standard library's `os` and `sys` only.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = "TOKENLEDGER_HOME"
"""The variable that names the home."""
HOME_JSON = "home.json"
LAKE = "lake"
MANIFEST = "lake/manifest.sqlite"
JOURNAL = "lake/journal"
RECORDS = "lake/records"
ANSWERS = "answers"
LANDING = "landing"
UI_SNAPSHOT = "ui-snapshot.json"
INGEST_SUMMARY = "ingest-summary.json"
PRICING_BOOK = "pricing.json"
PLANS = "plans.yaml"
OVERRIDES = "overrides.yaml"
PRICE_LISTS = "price-lists/index.json"
RECONCILE_SUMMARY = "reconcile-latest-summary.json"


def default_root() -> str | None:
    """The platform's folder for user data, as `platformdirs` names it; None where only `platformdirs` knows."""
    if sys.platform == "linux" and "ANDROID_DATA" not in os.environ:
        found = os.environ.get("XDG_DATA_HOME", "")
        return os.path.join(found if os.path.isabs(found) else os.path.expanduser("~/.local/share"), "tokenledger")
    if sys.platform == "darwin" and "XDG_DATA_HOME" not in os.environ:
        return os.path.expanduser("~/Library/Application Support/tokenledger")
    return None


def root_of(environ: Mapping[str, str]) -> str:
    """The home that these variables lead to, as `settings` finds it, always with an answer."""
    if given := environ.get(ROOT):
        return given
    home = environ.get("HOME") or os.path.expanduser("~")
    data = environ.get("XDG_DATA_HOME", "")
    if sys.platform == "darwin" and not data:
        return f"{home}/Library/Application Support/tokenledger"
    return f"{data if os.path.isabs(data) else f'{home}/.local/share'}/tokenledger"

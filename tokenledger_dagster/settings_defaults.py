"""The defaults of `config/default.yaml`, so that a command need not import a YAML reader to learn them.

Here: generated data; `python -m tests.docs.generated` writes it anew.  Not here: what the defaults are: that file alone
says so, and where it was edited since, it is read (`are_current`).
"""

from __future__ import annotations

import os

try:
    from _blake2 import blake2b  # hashlib would load OpenSSL for it
except ImportError:  # an interpreter built without it
    from hashlib import blake2b

# generated: begin
DIGEST = "550cb5cfd1f188538d9c2c231c28a6b6"
DEFAULTS: dict[str, object] = {
    "home": None,
    "timezone": None,
    "month": None,
    "host": None,
    "executor": "in_process",
    "automation": False,
    "on_unpriced": "skip",
    "month_closes_after_days": 3,
    "journal_compact_rows": 50000,
    "snapshot_top_n": 5,
    "retention_runs_count": 500,
    "retention_reconcile_count": 50,
    "retention_bench_count": 200,
    "retention_answers_count": 16,
    "retention_aggregates_count": 512,
    "retention_runs_days": 365,
    "retention_reconcile_days": 180,
    "retention_bench_days": 730,
    "retention_answers_days": 30,
    "retention_aggregates_days": 180,
}
FEATURES: dict[str, object] = {
    "coreml": False,
    "inference": "auto",
    "inference.prompts": False,
    "inference.store_prompts": False,
    "observability.prometheus": False,
    "observability.redis": False,
    "observability.statsd": False,
    "storage.db_artifacts": False,
}
SNAPSHOT_TOP_N = 5
# generated: end

_CONFIG = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "config", "default.yaml")


def are_current() -> bool:
    """Whether the file is the one that this copy was made of."""
    try:
        with open(_CONFIG, "rb") as handle:
            return digest(handle.read()) == DIGEST
    except OSError:
        return False


def digest(content: bytes) -> str:
    """What stands for the file's content."""
    return blake2b(content, digest_size=16).hexdigest()

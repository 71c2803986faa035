"""What holds for every test: an environment with nothing of this machine in it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tokenledger_dagster.clients.registry import logs

# tests import ONNX Runtime by themselves, and it reports its use to its maker from its first import on
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# times vary on a busy machine; what a property says does not
settings.register_profile("house", deadline=None)
settings.load_profile("house")

AGENT_VARIABLES = frozenset(
    name for one in logs().values() for name in ((one.override,) if one.override else ()) + getattr(one, "watched", ())
)
KEPT_VARIABLES = ("TOKENLEDGER_CONFORMANCE_DIR",)


@pytest.fixture(autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An empty HOME, a ledger's home of the test's own, UTC, and no variable that changes what is found."""
    base = tmp_path_factory.mktemp("environment")
    (base / "home").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            ours = name.startswith(("TOKENLEDGER_", "XDG_", "DAGSTER_")) and name not in KEPT_VARIABLES
            if ours or name in AGENT_VARIABLES:
                patch.delenv(name)
        for name in ("HOME", "USERPROFILE"):
            patch.setenv(name, str(base / "home"))
        patch.setenv("TOKENLEDGER_HOME", str(base / "ledger"))
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "1")
        patch.setenv("TZ", "UTC")
        patch.setenv("COLUMNS", "160")
        time.tzset()
        yield
    time.tzset()

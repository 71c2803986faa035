"""The asset that lands a proxy's queue: quiet without an address, and never in the way of the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.events import client_events
from assets.landing import cliproxyapi_landing
from resources import LandingProxy, LedgerHome
from tests.landing.proxy_server import KEY, running
from tests.landing.rows import queued
from tokenledger_dagster.landing import cliproxyapi as landing


def materialized(folder: Path, proxy: LandingProxy) -> tuple[Any, str]:
    """Metadata and data version of one run."""
    ran = dg.materialize([cliproxyapi_landing], resources={"home": LedgerHome(root=str(folder)), "proxy": proxy})
    assert ran.success
    (made,) = ran.asset_materializations_for_node("sources__cliproxyapi_landing")
    metadata = {name: value.value for name, value in made.metadata.items()}
    return metadata, (made.tags or {})["dagster/data_version"]


def test_without_an_address_it_does_nothing(tmp_path: Path) -> None:
    metadata, version = materialized(tmp_path / "ledger", LandingProxy())

    assert (metadata["outcome"], metadata["dagster/row_count"]) == ("no address configured", 0)
    assert version == "0 files, 0 bytes"
    assert not (tmp_path / "ledger" / "landing").exists()


def test_with_one_it_lands_the_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    with running() as proxy:
        proxy.push(queued("r1"), queued("r2", 1))
        metadata, version = materialized(tmp_path, LandingProxy(url=proxy.url, key_variable="THE_KEY"))
        again, same = materialized(tmp_path, LandingProxy(url=proxy.url, key_variable="THE_KEY"))

    assert (metadata["outcome"], metadata["dagster/row_count"], again["dagster/row_count"]) == ("landed", 2, 0)
    assert json.loads(metadata["summary"])["landed"] == 2
    assert version == same


@pytest.mark.parametrize("key", [KEY, ""])
def test_a_proxy_that_cannot_be_asked_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(landing, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("CLIPROXYAPI_MANAGEMENT_KEY", key)
    with running() as gone:
        pass
    metadata, _ = materialized(tmp_path, LandingProxy(url=gone.url))

    assert metadata["outcome"] == "not landed"
    assert metadata["problem"]


def test_the_proxys_records_are_read_after_they_were_landed() -> None:
    (deps,) = [{key.to_user_string() for key in one} for one in client_events("cliproxyapi").asset_deps.values()]

    assert deps == {"sources/cliproxyapi_landing", "sources/cliproxyapi_logs"}


def test_a_home_given_by_configuration_finds_its_own_landing(tmp_path: Path) -> None:
    assert LedgerHome(root=str(tmp_path)).environ["TOKENLEDGER_HOME"] == str(tmp_path)

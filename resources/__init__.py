"""What assets and checks are given: home, engine, options of a run, a proxy, the embedding model, and where metrics go.

Here: typed Dagster resources, all lazy: making one reads no file and opens nothing. Not here: what is done with them.

No `from __future__ import annotations`: Dagster reads the annotations of these classes at run time.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics
from tokenledger_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from tokenledger_dagster.contracts.landing import LandingSummary
    from tokenledger_dagster.inference.backend import BackendName
    from tokenledger_dagster.inference.embedder import Embedder
    from tokenledger_dagster.inference.switch import Standing

__all__ = ["Engine", "Inference", "LedgerHome", "LandingProxy", "Metrics", "RunOptions", "default_resources"]


class LedgerHome(dg.ConfigurableResource):
    """The home of the ledger, and the settings that are the same for all of a run."""

    root: str = Field(default="", description="Folder of the ledger; empty = TOKENLEDGER_HOME, else the platform's.")
    timezone: str = Field(default="", description="IANA zone in which days are cut; empty = the setting's.")

    _settings: Settings | None = PrivateAttr(default=None)

    @property
    def settings(self) -> Settings:
        """The settings of this process, read once. Raises SettingsError."""
        if self._settings is None:
            self._settings = load_settings()
        return self._settings

    @property
    def environ(self) -> Mapping[str, str]:
        """The variables by which agents' logs are found, and what is landed in this home."""
        return {**os.environ, "TOKENLEDGER_HOME": self.root} if self.root else os.environ

    @property
    def zone(self) -> str:
        """IANA name of the zone in which days, weeks and months are cut."""
        from tokenledger_dagster.ingest.zones import system_zone

        return self.timezone or self.settings.timezone or system_zone()

    def open(self) -> Home:
        """The home, made when there is none yet."""
        from pathlib import Path

        return ensure_home(Path(self.root).expanduser().absolute() if self.root else self.settings.home)


class _OfARun:
    """What the steps of one run share, opened by the first that needs it; a caller outside a run has one of its own."""

    def __init__(self) -> None:
        self._run: ExitStack | None = None
        self._shared: Any = None

    @contextmanager
    def lasting(self) -> "Iterator[None]":
        """The run; what was opened is closed when it is over."""
        with ExitStack() as stack:
            self._run, self._shared = stack, None
            try:
                yield
            finally:
                self._run, self._shared = None, None

    @contextmanager
    def opened(self, make: "Callable[[], AbstractContextManager[Any]]") -> "Iterator[Any]":
        """What `make` gives."""
        if self._run is None:
            with make() as own:
                yield own
        else:
            if self._shared is None:
                self._shared = self._run.enter_context(make())
            yield self._shared


class Engine(DuckDBResource):
    """DuckDB in memory over the Parquet files; it never opens a file read-write, so nothing is ever locked.

    The steps of one process share one database: the lake is attached to it once, however many tables are made of it.
    """

    database: str = Field(default=":memory:", description="Leave it in memory: a file would lock out its readers.")

    _shared: _OfARun = PrivateAttr(default_factory=_OfARun)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> "Iterator[Engine]":
        """Close the shared connection, if a step opened it, when the run is over."""
        with self._shared.lasting():
            yield self

    @contextmanager
    def connect(self) -> "Iterator[DuckDBPyConnection]":
        """The run's connection; outside a run one of its own, closed afterwards."""
        with self._shared.opened(self._opened) as connection:
            yield connection

    @contextmanager
    def _opened(self) -> "Iterator[DuckDBPyConnection]":
        # the base class leaves its connection open after an exception
        with self.get_connection() as connection, closing(connection):
            yield connection


class RunOptions(dg.ConfigurableResource):
    """What one run is asked to do; the command line and the launchpad set the same fields."""

    month: str = Field(default="", description="YYYY-MM of the summaries; empty = that of the latest event.")
    snapshot_mode: Literal["compact", "extended"] = Field(default="compact", description="Rows of the UI snapshot.")
    on_unpriced: Literal["", "skip", "error"] = Field(
        default="", description="What usage without a price does; empty = the setting's."
    )
    no_cache: bool = Field(default=False, description="Read every log from its start, keep no aggregates.")
    reconcile_write: bool = Field(default=False, description="Let reconciling write its patch into pricing.json.")
    events_out: str = Field(default="", description="Where the booked events are also written as JSON Lines.")
    ui_snapshot_path: str = Field(default="", description="Where the UI snapshot goes; empty = the home.")
    pipeline_summary_path: str = Field(default="", description="Where the pipeline summary is also written.")


class Metrics(dg.ConfigurableResource):
    """Where metrics go. The default keeps nothing and sends nothing."""

    def backend(self) -> MetricsBackend:
        """The backend of this run."""
        return NoopMetrics()


class LandingProxy(dg.ConfigurableResource):
    """The CLIProxyAPI whose usage queue is landed; without an address nothing is asked."""

    url: str = Field(default="", description="Address of the proxy; empty = CLIPROXYAPI_URL, else none.")
    key_variable: str = Field(default="", description="Variable with its key; empty = CLIPROXYAPI_MANAGEMENT_KEY.")
    count: int = Field(default=100, description="Records asked for at once.")

    @property
    def address(self) -> str:
        """The address, empty where none is configured."""
        return self.url or os.environ.get("CLIPROXYAPI_URL", "")

    def land(self, home: Home) -> "LandingSummary":
        """Takes what the queue holds. Raises TokenLedgerError."""
        from tokenledger_dagster.landing.cliproxyapi import land_once

        return land_once(home, self.address, os.environ, self.key_variable or None, self.count)


class Inference(dg.ConfigurableResource):
    """The embedding model of the home, where there is one; the first step of a run that embeds loads it for all."""

    _shared: _OfARun = PrivateAttr(default_factory=_OfARun)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> "Iterator[Inference]":
        """Give the model's memory back, if a step loaded it, when the run is over."""
        with self._shared.lasting():
            yield self

    def standing(self, home: LedgerHome) -> "Standing":
        """Whether inference is on, and what turns it on; loads nothing."""
        from tokenledger_dagster.inference.switch import standing

        return standing(home.open(), home.settings)

    def requested_backend(self, home: LedgerHome) -> "BackendName":
        """The backend that is asked first."""
        from tokenledger_dagster.inference.switch import requested_backend

        return requested_backend(home.settings)

    @contextmanager
    def embedder(self, home: LedgerHome, metrics: Metrics) -> "Iterator[Embedder]":
        """The run's embedder; outside a run one of its own, closed afterwards. Raises InferenceOffError."""
        from tokenledger_dagster.inference.embedder import open_embedder

        def make() -> "Embedder":
            return open_embedder(home.open(), home.settings, metrics=metrics.backend())

        with self._shared.opened(make) as embedder:
            yield embedder


def default_resources() -> dict[str, dg.ConfigurableResource]:
    """The resources by the names under which assets and checks ask for them."""
    return {
        "home": LedgerHome(),
        "engine": Engine(),
        "options": RunOptions(),
        "metrics": Metrics(),
        "proxy": LandingProxy(),
        "inference": Inference(),
    }

"""What assets and checks are given: the ledger's home, the engine, the options of a run, and where metrics go.

Here: typed Dagster resources, all lazy: making one reads no file and opens nothing. Not here: what is done with them.

No `from __future__ import annotations`: Dagster reads the annotations of these classes at run time.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from dagster_duckdb import DuckDBResource
from pydantic import Field, PrivateAttr

from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.observability.metrics import MetricsBackend, NoopMetrics
from tokenledger_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Engine", "LedgerHome", "Metrics", "RunOptions", "default_resources"]


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
        """The variables by which agents' logs are found."""
        return os.environ

    @property
    def zone(self) -> str:
        """IANA name of the zone in which days, weeks and months are cut."""
        from tokenledger_dagster.ingest.zones import system_zone

        return self.timezone or self.settings.timezone or system_zone()

    def open(self) -> Home:
        """The home, made when there is none yet."""
        from pathlib import Path

        return ensure_home(Path(self.root).expanduser().absolute() if self.root else self.settings.home)


class Engine(DuckDBResource):
    """DuckDB in memory over the Parquet files; it never opens a file read-write, so nothing is ever locked."""

    database: str = Field(default=":memory:", description="Leave it in memory: a file would lock out its readers.")

    @contextmanager
    def connect(self) -> "Iterator[DuckDBPyConnection]":
        """A connection that is closed in any case; the one of the base class stays open after an exception."""
        with self.get_connection() as connection, closing(connection):
            yield connection


class RunOptions(dg.ConfigurableResource):
    """What one run is asked to do; the command line and the launchpad set the same fields."""

    month: str = Field(default="", description="YYYY-MM of the summaries; empty = that of the latest event.")
    snapshot_mode: str = Field(default="compact", description="compact or extended.")
    on_unpriced: str = Field(default="", description="skip or error; empty = the setting's.")
    no_cache: bool = Field(default=False, description="Read every log from its beginning and reconcile.")


class Metrics(dg.ConfigurableResource):
    """Where metrics go. The default keeps nothing and sends nothing."""

    def backend(self) -> MetricsBackend:
        """The backend of this run."""
        return NoopMetrics()


def default_resources() -> dict[str, dg.ConfigurableResource]:
    """The resources by the names under which assets and checks ask for them."""
    return {"home": LedgerHome(), "engine": Engine(), "options": RunOptions(), "metrics": Metrics()}

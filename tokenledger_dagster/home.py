"""The home of a ledger: where everything lives below TOKENLEDGER_HOME, and whose events may enter it.

Belongs here: names of files and folders that more than one module uses, and the home's kind. Does not belong here: what
the files hold (`contracts/`), the lock, and which folder is the home (`settings.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

import msgspec

from tokenledger_dagster import home_files
from tokenledger_dagster.errors import HomeKindError, TokenLedgerError
from tokenledger_dagster.fileio import write_json_atomic

__all__ = ["Home", "HomeKind", "SAMPLE_HOME", "ensure_home", "keep_apart", "kind_of"]

HomeKind = Literal["user", "sample", "test", "bench"]

SCHEMA_VERSION = 1
SAMPLE_HOME = Path(__file__).resolve().parents[1] / "fixtures" / "sample" / "home"
"""The bundled sample: a small HOME with the logs of agents, for a first look and for tests."""


class Home(msgspec.Struct, frozen=True):
    """Paths of one home. Making this object touches no disk; `ensure_home` makes the folder."""

    root: Path

    @property
    def home_json(self) -> Path:
        """What kind of home this is."""
        return self.root / home_files.HOME_JSON

    @property
    def lock_path(self) -> Path:
        """The file whose advisory lock the one writer holds."""
        return self.root / ".lock"

    @property
    def pricing_book_path(self) -> Path:
        """The user's price book, optional."""
        return self.root / home_files.PRICING_BOOK

    @property
    def plans_path(self) -> Path:
        """The user's subscriptions, optional."""
        return self.root / home_files.PLANS

    @property
    def overrides_path(self) -> Path:
        """The user's model overrides, optional."""
        return self.root / home_files.OVERRIDES

    @property
    def price_lists(self) -> Path:
        """Imported price lists, by source; `index.json` says which are current."""
        return self.root / "price-lists"

    @property
    def prices(self) -> Path:
        """Price snapshots that the ledger was priced with, so that old prices can be explained."""
        return self.root / "prices"

    @property
    def lake(self) -> Path:
        """Segments and their manifest: all that cannot be made again from elsewhere."""
        return self.root / home_files.LAKE

    @property
    def manifest_path(self) -> Path:
        """SQLite: offsets, segments with their hashes, cells, rates."""
        return self.root / home_files.MANIFEST

    @property
    def journal(self) -> Path:
        """Small segments written by reports, until they are compacted."""
        return self.root / home_files.JOURNAL

    @property
    def records(self) -> Path:
        """Parquet segments of usage records, duplicates among them."""
        return self.root / home_files.RECORDS

    @property
    def landing(self) -> Path:
        """Records told for a moment only, as `tokenledger proxy land` wrote them down; a folder per feeder."""
        return self.root / home_files.LANDING

    @property
    def tables(self) -> Path:
        """Parquet tables derived from the lake; may be deleted and made again."""
        return self.root / "tables"

    @property
    def aggregate_cache(self) -> Path:
        """Aggregates of months as they were last computed; may be deleted at any time."""
        return self.root / "cache" / "aggregates"

    @property
    def duckdb_path(self) -> Path:
        """The published database, replaced as a whole."""
        return self.root / "tokenledger.duckdb"

    @property
    def ui_snapshot_path(self) -> Path:
        """The UI snapshot."""
        return self.root / home_files.UI_SNAPSHOT

    @property
    def ingest_summary_path(self) -> Path:
        """The last sync, in figures."""
        return self.root / home_files.INGEST_SUMMARY

    @property
    def pipeline_summary_path(self) -> Path:
        """The last `orchestrate`, stage by stage."""
        return self.root / "orchestrate-latest-summary.json"

    @property
    def reconcile_summary_path(self) -> Path:
        """The last comparison of prices with usage."""
        return self.root / home_files.RECONCILE_SUMMARY

    @property
    def bench_summary_path(self) -> Path:
        """The last bench."""
        return self.root / "latest-summary.json"

    @property
    def gate_summary_path(self) -> Path:
        """The last verdict of the perf gate."""
        return self.bench / "latest-gate.json"

    @property
    def runs(self) -> Path:
        """One folder per run, named by its UTC stamp."""
        return self.root / "runs"

    @property
    def quality(self) -> Path:
        """What claims and expectations found, and the page that shows it; made anew by each run of them."""
        return self.root / "quality"

    @property
    def reports(self) -> Path:
        """Reports for people."""
        return self.root / "reports"

    @property
    def bench(self) -> Path:
        """Bench runs."""
        return self.root / "bench"

    @property
    def golden(self) -> Path:
        """The locked figures of closed months, and what their events were."""
        return self.root / "golden"

    @property
    def ledger(self) -> Path:
        """The unified ledger built from this home."""
        return self.root / "ledger"

    @property
    def models(self) -> Path:
        """Inference artifacts."""
        return self.root / "models"

    @property
    def prompts(self) -> Path:
        """What is remembered of prompts: no words, unless they are to be kept."""
        return self.root / "inference" / "prompts"


class _HomeRecord(msgspec.Struct, frozen=True):
    schema_version: int
    kind: HomeKind


def ensure_home(root: Path, kind: HomeKind | None = None) -> Home:
    """Open the home at `root`, making it when there is none.

    Args:
        root: the folder; made readable by its owner alone, since it says what a person works on.
        kind: what the caller needs it to be; None takes an existing home as it is and makes a new one a user's.

    Raises:
        HomeKindError: the home is of another kind.
        TokenLedgerError: `home.json` cannot be understood, was written by a newer version, or `root` is a file.
    """
    home = Home(root)
    found = _read_kind(home.home_json)
    if found is None:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise TokenLedgerError(f"{root}: is not a folder; set TOKENLEDGER_HOME to one") from error
        write_json_atomic(home.home_json, _HomeRecord(schema_version=SCHEMA_VERSION, kind=kind or "user"))
    elif kind is not None and kind != found:
        raise HomeKindError(f"{root}: holds a {found} ledger, not a {kind} one; set TOKENLEDGER_HOME to another folder")
    return home


def kind_of(root: Path) -> HomeKind | None:
    """Return what kind of home stands at `root`, None where there is none."""
    return _read_kind(Home(root).home_json)


def keep_apart(home: Home, folders: Iterable[Path], *, empty: bool) -> None:
    """Refuse to mix the bundled sample's events with a user's.

    Args:
        home: a home that exists.
        folders: where logs are about to be read from.
        empty: whether nothing was ever read into the home; a user's home that begins with the sample becomes one of
            the sample's.

    Raises:
        HomeKindError: the sample would enter a user's ledger, or other logs the sample's.
    """
    kind = _read_kind(home.home_json)
    if kind not in ("user", "sample"):
        return
    for folder in folders:
        sample = SAMPLE_HOME in (folder, *folder.parents)
        if sample and kind == "user" and empty:
            write_json_atomic(home.home_json, _HomeRecord(schema_version=SCHEMA_VERSION, kind="sample"))
            kind, empty = "sample", False
        elif sample != (kind == "sample"):
            theirs = "the bundled sample" if sample else "logs of your own"
            raise HomeKindError(
                f"{home.root}: holds a {kind} ledger and {folder} is {theirs}; set TOKENLEDGER_HOME to another folder"
            )


def _read_kind(path: Path) -> HomeKind | None:
    """The kind that `home.json` says, None where there is no such file."""
    try:
        record = msgspec.json.decode(path.read_bytes(), type=_HomeRecord)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except msgspec.DecodeError as error:
        kinds = ", ".join(get_args(HomeKind))
        remedy = f'write {{"schema_version": {SCHEMA_VERSION}, "kind": K}} with K one of {kinds}'
        raise TokenLedgerError(f"{path}: does not say what kind of home this is ({error}); {remedy}") from error
    if record.schema_version > SCHEMA_VERSION:
        raise TokenLedgerError(
            f"{path}: schema_version {record.schema_version} is newer than this program; update tokenledger"
        )
    return record.kind

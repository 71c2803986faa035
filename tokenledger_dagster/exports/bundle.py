"""Everything that a home publishes in one file: for a build server to keep, or for somebody else to look at.

Here: which artifacts there are, an index of them, and the ZIP file. Not here: what is in any of them. The lake, its
tables and the database are named with their sizes and not put in: they are the user's history, and large.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from tokenledger_dagster.contracts.bundle import Artifact, BundleIndex
from tokenledger_dagster.fileio import encode_json, write_atomic
from tokenledger_dagster.home import Home

INDEX = "index.json"
ARTIFACTS = (
    "orchestrate-latest-summary.json",
    "ingest-summary.json",
    "reconcile-latest-summary.json",
    "latest-summary.json",
    "ui-snapshot.json",
    "ledger/*",
    "bench/latest-*.json",
    "golden/*.json",
    "quality/**/*",
)
"""Patterns below the home of what is put in."""
NAMED = ("tokenledger.duckdb", "tables/*.parquet")
"""Patterns of what is only named."""
LARGEST = 64 << 20
"""Bytes beyond which a file is only named: no artifact meant for this is so large."""
# ZIP knows no earlier day; the same content makes the same bytes
_DAY = (1980, 1, 1, 0, 0, 0)


class Bundle(msgspec.Struct, frozen=True):
    """A bundle as it was written."""

    path: Path
    index: BundleIndex


def write_bundle(home: Home, now: datetime | None = None) -> Bundle:
    """Write all artifacts of a home into `bundle/artifacts.zip`, and their index beside it; replaces the last ones.

    A file that vanishes or cannot be read meanwhile is left out and named in `problems`.
    """
    made = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    packed, artifacts, problems = io.BytesIO(), [], []
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path, is_named in [
            *((path, False) for path in _matching(home.root, ARTIFACTS)),
            *((path, True) for path in _matching(home.root, NAMED)),
        ]:
            name = path.relative_to(home.root).as_posix()
            try:
                size = path.stat().st_size
                content = None if is_named or size > LARGEST else path.read_bytes()
            except OSError as error:
                problems.append(f"{path}: {error.strerror or error}; left out")
                continue
            digest = None if content is None else hashlib.sha256(content).hexdigest()
            artifacts.append(Artifact(name, size, digest, is_included=content is not None))
            if content is not None:
                _put(archive, name, content)
        index = BundleIndex(generated_at=made, artifacts=artifacts, problems=problems)
        _put(archive, INDEX, encode_json(index))
    folder = home.root / "bundle"
    path = folder / "artifacts.zip"
    write_atomic(path, packed.getvalue())
    write_atomic(folder / INDEX, encode_json(index))
    return Bundle(path, index)


def _matching(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Regular files below a folder, in order; a link may lead out of it and is none."""
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(path for path in found if path.is_file() and not _is_linked(path, root) and path.suffix != ".tmp")


def _is_linked(path: Path, root: Path) -> bool:
    return any(one.is_symlink() for one in (path, *path.parents) if root in one.parents)


def _put(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, _DAY)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o600 << 16
    archive.writestr(entry, content)

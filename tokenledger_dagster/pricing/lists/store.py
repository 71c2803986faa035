"""Price lists that a person imported: fetched, hashed, kept in the home, one of each source current.

Here: getting a list from a path or a URL, and `price-lists/` below the home. Not here: what a list says (`litellm.py`,
`models_dev.py`). Whatever was imported stays: raw bytes as `<source>/<sha256>.json`, the rows made of them as
`<sha256>.csv`; `index.json` says which are current. Nothing but `import_list` uses the network. Of two imports at the
same time one may be lost: callers hold the home's lock.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from tokenledger_dagster import __version__
from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.fileio import write_atomic, write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.pricing.lists.converted import Converted, PriceListError
from tokenledger_dagster.pricing.rates import COLUMNS
from tokenledger_dagster.printable import printable

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.parse import SplitResult
    from urllib.request import OpenerDirector, Request

SCHEMA_VERSION = 1
FOLDER = "price-lists"
DEFAULT_URLS = {
    "litellm": "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
    "models.dev": "https://models.dev/api.json",
}
TIMEOUT_SECONDS = 30
"""Of each wait for a server."""
LONGEST_SECONDS = 300
"""Of a whole download."""
MOST_BYTES = 50 << 20

_CHUNK = 1 << 16
_WEB = ("http", "https")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://|(file):", re.IGNORECASE)
_AGAIN = "import the list again"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class ImportedList(msgspec.Struct, frozen=True):
    """The current list of one source."""

    source: Literal["litellm", "models.dev"]
    origin: str
    """Path or URL it came from; of a URL without user, password and query."""
    sha256: Sha256
    """Of the raw bytes."""
    rows_sha256: Sha256
    observed_at: date
    """UTC day on which these bytes were first imported."""
    rows: int
    skipped: dict[str, int]
    notes: dict[str, int]


class _Version(msgspec.Struct, frozen=True):
    schema_version: int


class _Index(_Version, frozen=True):
    """`index.json`: what is current, and when which bytes were first seen, current or not."""

    lists: list[ImportedList]
    first_observed: dict[Sha256, date]


def import_list(home: Home, source: str, origin: str, observed: date | None = None) -> ImportedList:
    """Read a price list, keep it, and make it the current one of its source.

    Args:
        home: the ledger's home.
        source: `litellm` or `models.dev`.
        origin: a path, or an http(s) URL such as those of `DEFAULT_URLS`.
        observed: UTC day from which the list is known, today by default; bytes that were imported before keep theirs.

    Raises:
        UsageError: there is no such source.
        PriceListError: the list cannot be had, is no price list, or cannot be kept; what was current stays so.
    """
    _known(source)
    index = _read_index(home)
    content, shown = _fetched(origin) if _URL.match(origin) else _read(origin)
    sha256 = hashlib.sha256(content).hexdigest()
    day = index.first_observed.get(sha256) or observed or datetime.now(UTC).date()
    converted = _converted(source, content, day, shown)
    if not converted.rows:
        raise PriceListError(
            f"{shown}: has no price of a known model, so it is no list of {source}; try {DEFAULT_URLS[source]}"
        )
    table = _table(converted.rows)
    imported = ImportedList(
        source=msgspec.convert(source, Literal["litellm", "models.dev"]),
        origin=shown,
        sha256=sha256,
        rows_sha256=hashlib.sha256(table).hexdigest(),
        observed_at=day,
        rows=len(converted.rows),
        skipped=converted.skipped,
        notes=converted.notes,
    )
    others = [one for one in index.lists if one.source != source]
    try:
        write_atomic(_kept(home, imported, "json"), content)
        write_atomic(_kept(home, imported, "csv"), table)
        _write_index(home, [*others, imported], {**index.first_observed, sha256: day})
    except OSError as error:
        raise _unwritten(home, error) from error
    return imported


def current_lists(home: Home) -> list[ImportedList]:
    """Return the current list of each source that has one, sorted by source; reads the index only.

    Raises:
        PriceListError: the index is damaged, or was written by a newer version.
    """
    return _read_index(home).lists


def raw_content(home: Home, imported: ImportedList) -> bytes:
    """Return an imported list as it came.  Raises PriceListError where that is gone or changed."""
    return _content(_kept(home, imported, "json"), imported.sha256)


def rows_content(home: Home, imported: ImportedList) -> bytes:
    """Return the CSV file of a list's rate rows.  Raises PriceListError where that is gone or changed."""
    return _content(_kept(home, imported, "csv"), imported.rows_sha256)


def remove_list(home: Home, source: str) -> bool:
    """Make no list of this source current, and say whether one was; its files stay.

    Raises:
        UsageError: there is no such source.
        PriceListError: the index is damaged or cannot be written.
    """
    _known(source)
    index = _read_index(home)
    others = [one for one in index.lists if one.source != source]
    if len(others) == len(index.lists):
        return False
    try:
        _write_index(home, others, index.first_observed)
    except OSError as error:
        raise _unwritten(home, error) from error
    return True


def _known(source: str) -> None:
    if source not in DEFAULT_URLS:
        raise UsageError(f"{printable(source)}: no such price list; there are {' and '.join(DEFAULT_URLS)}")


def _converted(source: str, content: bytes, day: date, shown: str) -> Converted:
    from tokenledger_dagster.pricing.lists import litellm, models_dev

    read = litellm.rows if source == litellm.SOURCE else models_dev.rows
    return read(content, day, name=shown)


def _kept(home: Home, imported: ImportedList, ending: str) -> Path:
    return home.root / FOLDER / imported.source / f"{imported.sha256}.{ending}"


def _content(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PriceListError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from error
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PriceListError(f"{path}: is not what was imported (other SHA-256); {_AGAIN}")
    return content


def _index_path(home: Home) -> Path:
    return home.root / FOLDER / "index.json"


def _read_index(home: Home) -> _Index:
    path = _index_path(home)
    try:
        content = path.read_bytes()
        version = msgspec.json.decode(content, type=_Version).schema_version
        if version > SCHEMA_VERSION:
            raise PriceListError(f"{path}: schema_version {version} is newer than this program; update tokenledger")
        index = msgspec.json.decode(content, type=_Index)
    except FileNotFoundError:
        return _Index(schema_version=SCHEMA_VERSION, lists=[], first_observed={})
    except OSError as error:
        raise PriceListError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise PriceListError(f"{path}: is damaged ({error}); delete it and import the lists again") from error
    if len({one.source for one in index.lists}) < len(index.lists):
        raise PriceListError(
            f"{path}: is damaged (two current lists of a source); delete it and import the lists again"
        )
    return index


def _write_index(home: Home, lists: list[ImportedList], first_observed: Mapping[str, date]) -> None:
    ordered = sorted(lists, key=lambda one: one.source)
    observed = dict(sorted(first_observed.items()))
    write_json_atomic(_index_path(home), _Index(SCHEMA_VERSION, ordered, observed))


def _unwritten(home: Home, error: OSError) -> PriceListError:
    remedy = "check its permissions and the room on the disk"
    return PriceListError(f"{home.root / FOLDER}: cannot be written ({error.strerror}); {remedy}")


def _table(rows: list[list[str]]) -> bytes:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    return buffer.getvalue().encode("utf-8")


def _read(origin: str) -> tuple[bytes, str]:
    shown = printable(os.path.abspath(os.path.expanduser(origin)))
    try:
        path = Path(origin).expanduser()
        if not stat.S_ISREG(path.stat().st_mode):
            raise PriceListError(f"{shown}: is not a file; give the list itself")
        with path.open("rb") as handle:
            content = handle.read(MOST_BYTES + 1)
    except OSError as error:
        raise PriceListError(f"{shown}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RuntimeError) as error:
        raise PriceListError(f"{shown}: is not a path ({error}); give a path or an http(s) URL") from error
    if len(content) > MOST_BYTES:
        raise _too_large(shown)
    return content, shown


def _fetched(origin: str) -> tuple[bytes, str]:
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(origin)
    except ValueError as error:
        raise PriceListError("the URL cannot be understood; give one such as " + DEFAULT_URLS["models.dev"]) from error
    host = parts.netloc.rpartition("@")[2]
    shown = printable(urlunsplit((parts.scheme, host, parts.path, "", "")))
    if parts.scheme not in _WEB or not host:
        raise PriceListError(f"{shown}: is not fetched; give a path or an http(s) URL")
    try:
        with _opener().open(_request(parts, host), timeout=TIMEOUT_SECONDS) as response:
            return _body(response, shown), shown
    except HTTPError as error:
        error.close()
        far = 300 <= error.code < 400
        why = "is redirected in circles, or to what is not http(s)" if far else f"the server answered {error.code}"
        raise PriceListError(f"{shown}: {why}; check the URL") from None
    except (OSError, HTTPException, ValueError) as error:
        # not from error: what http.client says may quote the whole URL, and with it a secret
        raise PriceListError(f"{shown}: cannot be fetched ({_why(error)}); check the URL and the network") from None


def _request(parts: SplitResult, host: str) -> Request:
    from base64 import b64encode
    from urllib.parse import unquote, urlunsplit
    from urllib.request import Request

    headers = {"User-Agent": f"tokenledger/{__version__}", "Accept": "application/json"}
    request = Request(urlunsplit((parts.scheme, host, parts.path, parts.query, "")), headers=headers)
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        # a server that it is redirected to has no business with it
        request.add_unredirected_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
    return request


def _opener() -> OpenerDirector:
    """Opens http(s) and nothing else: the usual opener would read local files and FTP too."""
    from urllib import request as web

    opener = web.OpenerDirector()
    for handler in (
        web.ProxyHandler(),
        web.HTTPHandler(),
        web.HTTPSHandler(),
        web.HTTPDefaultErrorHandler(),
        web.HTTPErrorProcessor(),
        web.HTTPRedirectHandler(),
        web.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _body(response: HTTPResponse, shown: str) -> bytes:
    until = time.monotonic() + LONGEST_SECONDS
    found = bytearray()
    while chunk := response.read1(_CHUNK):
        found += chunk
        if len(found) > MOST_BYTES:
            raise _too_large(shown)
        if time.monotonic() > until:
            raise PriceListError(f"{shown}: took more than {LONGEST_SECONDS} s; fetch it yourself and give its path")
    if response.length:
        raise PriceListError(f"{shown}: ended {response.length} bytes too early; {_AGAIN}")
    return bytes(found)


def _too_large(shown: str) -> PriceListError:
    return PriceListError(f"{shown}: is larger than {MOST_BYTES >> 20} MB, and no price list is; check what it is")


def _why(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS} s"
    if isinstance(reason, str):
        return printable(reason)
    return getattr(reason, "strerror", None) or type(reason).__name__

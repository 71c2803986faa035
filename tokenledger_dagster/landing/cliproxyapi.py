"""Landing the usage of a CLIProxyAPI: its queue, which forgets what it answers, or the export of version 6.

Here: the order of things (ask, take the secrets out, write, flush, only then ask again), tries, and stopping.  Not
here: HTTP (``landing.management``), redaction, files.  Between an answer and its flush a crash loses what that answer
held, so nothing but decoding and redaction happens there, and ``count`` bounds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from tokenledger_dagster.clients.cliproxyapi import LANDED_VERSION, Owner, identity_of, is_control, is_usage
from tokenledger_dagster.contracts.landing import LandingSummary
from tokenledger_dagster.errors import HomeKindError, TokenLedgerError
from tokenledger_dagster.home import Home, kind_of
from tokenledger_dagster.landing.answers import Answer, parsed
from tokenledger_dagster.landing.folder import LandingFolder
from tokenledger_dagster.landing.management import Management, NoSuchPageError, UnreachableError, management_key
from tokenledger_dagster.landing.redaction import endpoint_or_veil, name_or_veil, redacted

FEEDER = "cliproxyapi"
ANSWER_BYTES = 64 << 20
EXPORT_BYTES = 512 << 20
TIMEOUT_SECONDS = 30.0
TRIES = 4
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
WRITE_TRIES = 3

_NO_QUEUE = (
    ", there is no usage queue; before version 7 land the export with --export, "
    "else update the proxy or set its remote-management.secret-key"
)
_NO_EXPORT = ", there is no usage export; from version 7 on leave --export out, else set remote-management.secret-key"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is asked to do."""

    count: int = 100
    """Records asked for at once; a crash loses one answer at most."""
    every: float | None = None
    """Seconds between looks; None looks once, until the queue is empty."""
    max_batches: int | None = None
    """Answers after which it ends."""
    export: bool = False
    """Land the export of version 6 in place of the queue."""


class Stop:
    """Whether the run should end; ``landing.signals`` sets it from the keyboard."""

    asked = False

    def wait(self, seconds: float) -> None:
        """Waits that long, or until asked to stop."""
        time.sleep(seconds)


class Lander:
    """One run."""

    def __init__(
        self,
        home: Home,
        proxy: Management,
        options: Options,
        *,
        stop: Stop | None = None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Raises HomeKindError for a home that holds the bundled sample."""
        if kind_of(home.root) == "sample":
            told = f"{home.root}: holds a sample ledger, and a proxy's usage is your own"
            raise HomeKindError(f"{told}; set TOKENLEDGER_HOME to another folder")
        self._folder = LandingFolder(home.landing / FEEDER)
        self._proxy = proxy
        self._options = options
        self._stop = stop or Stop()
        self._note = note
        self._seen: set[str] | None = None
        self.summary = LandingSummary(generated_at=datetime.now(UTC), url=proxy.shown, folder=str(self._folder.path))

    def run(self) -> LandingSummary:
        """Lands until there is nothing more, or for as long as asked; ``summary`` is kept also where this raises.

        Raises RefusedError, UnreachableError and OSError.
        """
        self._folder.make_ready()
        with self._folder.lock() as held:
            if not held:
                self.summary.busy = True
                self._note(f"another process lands into {self._folder.path}; nothing to do here")
                return self.summary
            while True:
                before = self.summary.landed
                self._look()
                if self._options.every is None or self._is_over():
                    return self.summary
                if self.summary.landed > before:
                    self._note(f"landed {self.summary.landed - before:,} records")
                self._stop.wait(self._options.every)
                if self._stop.asked:
                    return self.summary

    def _is_over(self) -> bool:
        most = self._options.max_batches
        return self._stop.asked or (most is not None and self.summary.answers >= most)

    def _look(self) -> None:
        """One look: answers until one holds less than was asked for, each landed before the next is asked."""
        failures = 0
        while not self._is_over():
            try:
                if self._options.export:
                    self._export()
                    return
                if self._pop() < self._options.count:
                    return
                failures = 0
            except NoSuchPageError as error:
                raise NoSuchPageError(f"{error}{_NO_EXPORT if self._options.export else _NO_QUEUE}") from error
            except UnreachableError as error:
                failures += 1
                if self._options.every is None and failures >= TRIES:
                    raise
                self.summary.retries += 1
                pause = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
                self._note(f"{error}; the next try is in {pause:g} s")
                self._stop.wait(pause)

    def _pop(self) -> int:
        """Takes one answer from the queue and lands it; gives how many elements it held."""
        self._folder.make_ready()
        reply = self._proxy.get(f"/usage-queue?count={self._options.count}", ANSWER_BYTES)
        answer = parsed(reply.body)
        self._land(b"".join(self._lines(answer)))
        self.summary.answers += 1
        if reply.cut or not answer.whole:
            self.summary.cut_answers += 1
            why = reply.cut or "it is not the JSON it should be"
            kept = f"{len(answer.elements):,} of its records are landed, what else it held is lost"
            raise UnreachableError(f"{self._proxy.shown}: an answer broke off ({why}); {kept}")
        return len(answer.elements)

    def _lines(self, answer: Answer) -> Iterator[bytes]:
        """The landed lines of an answer's elements."""
        for one in answer.elements:
            if not isinstance(one, dict):
                # the proxy wraps what is no JSON into a string; it may hold anything, so nothing of it is kept
                data = str(one).encode("utf-8", "replace")
                self.summary.unreadable += 1
                yield landed_line("unreadable", {}, sha256=sha256(data).hexdigest(), bytes=len(data))
            elif is_control(one):
                self.summary.control_messages += 1
            elif is_usage(one):
                self.summary.landed += 1
                yield landed_line("usage", redacted(one))
            else:
                self.summary.unknown += 1
                yield landed_line("unknown", redacted(one))

    def _export(self) -> None:
        """Lands the details of an export that were not landed before; asking for it takes nothing from the proxy."""
        self._folder.make_ready()
        reply = self._proxy.get("/usage/export", EXPORT_BYTES)
        answer = parsed(reply.body)
        if reply.cut or not answer.whole or not answer.elements:
            why = reply.cut or "it is not the JSON it should be"
            raise UnreachableError(f"{self._proxy.shown}: the export cannot be read ({why})")
        if self._seen is None:
            self._seen = set(self._landed_details())
        lines = [line for owner, record in details_of(answer.elements[0]) for line in self._detail(owner, record)]
        self._land(b"".join(lines))
        self.summary.answers += 1

    def _detail(self, owner: Owner, record: dict[str, Any]) -> Iterator[bytes]:
        seen = self._seen if self._seen is not None else set()
        name = identity_of(record, owner)
        if name in seen:
            self.summary.known += 1
            return
        seen.add(name)
        self.summary.landed += 1
        yield landed_line(
            "detail",
            redacted(record),
            id=name,
            api=endpoint_or_veil(owner.api or ""),
            model=name_or_veil(owner.model or ""),
        )

    def _landed_details(self) -> Iterator[str]:
        for path in self._folder.files():
            with path.open("rb") as handle:
                for line in handle:
                    if b'"kind":"detail"' in line:
                        try:
                            yield str(msgspec.json.decode(line)["id"])
                        except (msgspec.DecodeError, KeyError, TypeError):
                            continue

    def _land(self, lines: bytes) -> None:
        """Writes and flushes; the proxy has forgotten these records, so a refusing disk is asked again."""
        if not lines:
            return
        for left in reversed(range(WRITE_TRIES)):
            try:
                self._folder.append(lines)
            except OSError as error:
                if not left:
                    lost = lines.count(b"\n")
                    told = f"{self._folder.path}: {error.strerror}; {lost:,} records could not be written and are lost"
                    raise TokenLedgerError(f"{told}; free some space") from error
                time.sleep(FIRST_PAUSE_SECONDS)
            else:
                self.summary.bytes_written += len(lines)
                return


def land_once(
    home: Home, url: str, environ: Mapping[str, str], key_variable: str | None = None, count: int = 100
) -> LandingSummary:
    """Lands what the queue holds and ends; the key is taken from a variable.  Raises TokenLedgerError."""
    proxy = Management(url, management_key(environ, key_variable), TIMEOUT_SECONDS)
    return Lander(home, proxy, Options(count=count)).run()


def landed_state(home: Home) -> str:
    """What changes whenever something is landed: how much there is."""
    files = LandingFolder(home.landing / FEEDER).files()
    return f"{len(files)} files, {sum(path.stat().st_size for path in files)} bytes"


def landed_line(kind: str, record: dict[str, Any], **told: Any) -> bytes:
    """One line of a landing file."""
    line = {
        "schema_version": LANDED_VERSION,
        "feeder": FEEDER,
        "kind": kind,
        "landed_at": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **told,
        "record": record,
    }
    return msgspec.json.encode(line) + b"\n"


def details_of(document: object) -> Iterator[tuple[Owner, dict[str, Any]]]:
    """Every request of a version 6 export, with the key or endpoint and the model it is filed under."""
    usage = document.get("usage", document) if isinstance(document, dict) else None
    apis = usage.get("apis") if isinstance(usage, dict) else None
    for api, filed in apis.items() if isinstance(apis, dict) else ():
        models = filed.get("models") if isinstance(filed, dict) else None
        for model, kept in models.items() if isinstance(models, dict) else ():
            details = kept.get("details") if isinstance(kept, dict) else None
            for one in details if isinstance(details, list) else ():
                if isinstance(one, dict):
                    yield Owner(api, model), one

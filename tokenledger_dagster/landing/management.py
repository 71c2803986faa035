"""One question to a CLIProxyAPI's management interface, with every way it can go wrong.

Here: address, key, one GET with a deadline and a bound, and which failures are worth another try.  Not here: what an
answer means (``landing.cliproxyapi``).  The standard library's client: it follows no redirect and asks no proxy, either
of which would be handed the key.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tokenledger_dagster.errors import SettingsError, TokenLedgerError, UsageError

KEY_VARIABLE = "CLIPROXYAPI_MANAGEMENT_KEY"
URL_VARIABLE = "CLIPROXYAPI_URL"
DEFAULT_URL = "http://127.0.0.1:8317"
BASE = "/v0/management"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CHUNK = 1 << 16


class RefusedError(TokenLedgerError):
    """The proxy answered that it will not: only a person can change that."""


class NoSuchPageError(RefusedError):
    """There is no such page: another version, or management is off."""


class UnreachableError(TokenLedgerError):
    """No usable answer; another try may have one."""


class Reply(NamedTuple):
    """The body that arrived, and why it ends early where it does."""

    body: bytes
    cut: str | None


class Management:
    """A proxy's management interface."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        """Raises UsageError for an address that cannot be used."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        try:
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise UsageError(f"--url: {error}; write it as {DEFAULT_URL}") from error
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError(f"--url: give host and port only, as {DEFAULT_URL}; the key is never part of it")
        if parts.scheme not in ("http", "https") or not host:
            raise UsageError(f"--url {url}: is no address of a proxy; write it as {DEFAULT_URL}")
        self._secure = parts.scheme == "https"
        self._host, self._port = host, port
        self._path = parts.path.rstrip("/").removesuffix(BASE)
        self._key, self._timeout = key, timeout
        shown = f"[{host}]" if ":" in host else host
        self.shown = f"{parts.scheme}://{shown}{f':{port}' if port else ''}{self._path}"
        """The address for people."""
        self.is_exposed = not self._secure and host not in _LOOPBACK
        """Whether the key would travel over a network as plain text."""

    def get(self, page: str, limit: int) -> Reply:
        """The body of one page, at most ``limit`` bytes of it.

        Raises RefusedError where no other try will do, UnreachableError where one may.
        """
        deadline = time.monotonic() + self._timeout
        connection = self._connection()
        try:
            try:
                headers = {
                    "Authorization": f"Bearer {self._key}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                    "Connection": "close",
                }
                connection.request("GET", f"{self._path}{BASE}{page}", headers=headers)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as problem:
                raise UnreachableError(f"{self.shown}: {_why(problem)}; is the proxy running there?") from problem
            with response:
                if response.status != http.HTTPStatus.OK:
                    raise self._refusal(response.status)
                return _body(response, limit, deadline)
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)

    def _refusal(self, status: int) -> TokenLedgerError:
        told = f"{self.shown}: HTTP {status}"
        if status == http.HTTPStatus.UNAUTHORIZED:
            return RefusedError(
                f"{told}, the management key is not accepted; set {KEY_VARIABLE} to remote-management.secret-key"
            )
        if status == http.HTTPStatus.FORBIDDEN:
            remedy = (
                "ask from the proxy's own machine or set remote-management.allow-remote; wrong keys block for a while"
            )
            return RefusedError(f"{told}, management is not allowed from here; {remedy}")
        if status == http.HTTPStatus.NOT_FOUND:
            return NoSuchPageError(told)
        if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR or status == http.HTTPStatus.TOO_MANY_REQUESTS:
            return UnreachableError(f"{told}, the proxy has a problem of its own; see its log")
        return RefusedError(f"{told}, no answer of a CLIProxyAPI; check --url")


def _body(response: http.client.HTTPResponse, limit: int, deadline: float) -> Reply:
    """Reads until the end, the bound or the deadline; what arrived is kept, for the proxy has forgotten it."""
    body = bytearray()
    cut = None
    try:
        while True:
            if time.monotonic() > deadline:
                cut = "it came too slowly"
                break
            part = response.read1(_CHUNK)
            if not part:
                break
            body += part
            if len(body) > limit:
                cut = f"it is larger than {limit >> 20} MiB"
                break
        if cut is None and response.length:
            cut = "it ends early"
    except http.client.IncompleteRead as problem:
        body += problem.partial
        cut = "it ends early"
    except (OSError, http.client.HTTPException) as problem:
        cut = _why(problem)
    return Reply(bytes(body[:limit]), cut)


def _why(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    if isinstance(problem, ssl.SSLError):
        return f"the encrypted connection failed ({problem.reason})"
    if isinstance(problem, OSError):
        return problem.strerror or type(problem).__name__
    return f"no HTTP answer ({type(problem).__name__})"


def management_key(environ: Mapping[str, str], variable: str | None = None, file: Path | None = None) -> str:
    """The key, from a file or a variable; never from the command line, which every user of the machine can read.

    Raises SettingsError where there is none, or none that can be sent; it never quotes the key.
    """
    if file is not None:
        try:
            key, where = file.expanduser().read_text("utf-8").strip(), str(file)
        except UnicodeDecodeError as error:
            raise SettingsError(f"{file}: is no text; write the management key into it and nothing else") from error
    else:
        where = variable or KEY_VARIABLE
        key = environ.get(where, "").strip()
        if not key:
            raise SettingsError(f"{where} is not set; set it to the management key, or name a file with --key-file")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"{where}: holds no management key; write the key into it and nothing else")
    return key

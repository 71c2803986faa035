"""Imported price lists: where they come from, what is kept of them, and what a damaged folder says."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tokenledger_dagster.errors import UsageError
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.pricing.lists import store
from tokenledger_dagster.pricing.lists.converted import PriceListError
from tokenledger_dagster.pricing.lists.store import ImportedList, current_lists, import_list, remove_list, rows_content
from tokenledger_dagster.pricing.rate_table import Row, read_rows

DAY = date(2026, 11, 20)


def listed(usd: float = 2.0, **entries: Any) -> bytes:
    """LiteLLM's list with one model at this input price, and an embedding model."""
    known = {"litellm_provider": "openai", "mode": "chat", "output_cost_per_token": 1e-05}
    models = {"gpt-5.4": {**known, "input_cost_per_token": usd / 1e6}, "embedder": {"mode": "embedding"}}
    return json.dumps({**models, **entries}).encode()


MODELS_DEV = json.dumps({"openai": {"models": {"gpt-5.5": {"cost": {"input": 5, "output": 30}}}}}).encode()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return ensure_home(tmp_path / "ledger", "test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "list.json"
    found.write_bytes(listed())
    return found


def list_rows(home: Home, imported: ImportedList) -> list[Row]:
    return list(read_rows(rows_content(home, imported), "list"))


def tree(home: Home) -> list[str]:
    folder = home.root / "price-lists"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refused(home: Home, origin: object, source: str = "litellm") -> str:
    """What an import that fails says; it leaves nothing behind."""
    before = tree(home)
    with pytest.raises(PriceListError) as caught:
        import_list(home, source, str(origin), DAY)
    assert tree(home) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ------------------------------------------------------------------ what is kept


def test_a_list_is_kept_with_its_rows_and_made_current(home: Home, path: Path) -> None:
    sha256 = hashlib.sha256(listed()).hexdigest()

    imported = import_list(home, "litellm", str(path), DAY)

    folder = home.root / "price-lists" / "litellm"
    table = (folder / f"{sha256}.csv").read_bytes()
    assert imported == ImportedList(
        source="litellm",
        origin=str(path),
        sha256=sha256,
        rows_sha256=hashlib.sha256(table).hexdigest(),
        observed_at=DAY,
        rows=1,
        skipped={"other_mode": 1},
        notes={},
    )
    assert tree(home) == ["index.json", f"litellm/{sha256}.csv", f"litellm/{sha256}.json"]
    assert (folder / f"{sha256}.json").read_bytes() == listed()
    assert table.decode().splitlines()[1] == (
        "openai,gpt-5.4,standard,,,,,,,2000000000,2000000000,2000000000,2000000000,10000000000,,,,,,yes,gpt-5.4,litellm,"
        f"{sha256[:12]}@2026-11-20,active,80"
    )
    assert json.loads((home.root / "price-lists" / "index.json").read_bytes()) == {
        "schema_version": 1,
        "lists": [
            {
                "source": "litellm",
                "origin": str(path),
                "sha256": sha256,
                "rows_sha256": hashlib.sha256(table).hexdigest(),
                "observed_at": "2026-11-20",
                "rows": 1,
                "skipped": {"other_mode": 1},
                "notes": {},
            }
        ],
        "first_observed": {sha256: "2026-11-20"},
    }
    assert current_lists(home) == [imported]
    assert [row[:3] for row in list_rows(home, imported)] == [["openai", "gpt-5.4", "standard"]]


def test_nothing_was_imported_yet(home: Home) -> None:
    assert current_lists(home) == []
    assert remove_list(home, "litellm") is False
    assert tree(home) == []


def test_each_source_has_a_current_list(home: Home, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "api.json"
    other.write_bytes(MODELS_DEV)

    second = import_list(home, "models.dev", str(other), DAY)
    first = import_list(home, "litellm", str(path), DAY)

    assert current_lists(home) == [first, second]
    assert [row[:2] for one in current_lists(home) for row in list_rows(home, one)] == [
        ["openai", "gpt-5.4"],
        ["openai", "gpt-5.5"],
    ]


def test_the_same_bytes_keep_the_day_they_were_first_seen(home: Home, path: Path, tmp_path: Path) -> None:
    first = import_list(home, "litellm", str(path), DAY)
    index = (home.root / "price-lists" / "index.json").read_bytes()
    files = tree(home)

    again = import_list(home, "litellm", str(path), date(2026, 12, 24))

    assert again == first
    assert (home.root / "price-lists" / "index.json").read_bytes() == index
    assert tree(home) == files


def test_also_after_another_list_and_after_removal(home: Home, path: Path, tmp_path: Path) -> None:
    first = import_list(home, "litellm", str(path), DAY)
    other = tmp_path / "newer.json"
    other.write_bytes(listed(3.0))
    newer = import_list(home, "litellm", str(other), date(2026, 11, 21))
    assert current_lists(home) == [newer]
    assert remove_list(home, "litellm") is True
    assert current_lists(home) == []

    assert import_list(home, "litellm", str(path), date(2026, 12, 24)) == first
    assert {name for name in tree(home) if name != "index.json"} == {
        f"litellm/{one.sha256}.{ending}" for one in (first, newer) for ending in ("csv", "json")
    }


def test_without_a_day_it_is_todays(home: Home, path: Path) -> None:
    before = datetime.now(UTC).date()

    assert before <= import_list(home, "litellm", str(path)).observed_at <= datetime.now(UTC).date()


def test_removing_one_source_leaves_the_other(home: Home, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "api.json"
    other.write_bytes(MODELS_DEV)
    import_list(home, "litellm", str(path), DAY)
    second = import_list(home, "models.dev", str(other), DAY)
    files = tree(home)

    assert remove_list(home, "litellm") is True

    assert current_lists(home) == [second]
    assert tree(home) == files
    assert remove_list(home, "litellm") is False


def test_other_sources_do_not_exist(home: Home, path: Path) -> None:
    expected = r"^openrouter: no such price list; there are litellm and models\.dev$"
    with pytest.raises(UsageError, match=expected):
        import_list(home, "openrouter", str(path), DAY)
    with pytest.raises(UsageError, match=expected):
        remove_list(home, "openrouter")


def test_default_urls() -> None:
    assert store.DEFAULT_URLS == {
        "litellm": "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json",
        "models.dev": "https://models.dev/api.json",
    }


# ------------------------------------------------------------------ paths


def test_a_path_that_is_no_list(home: Home, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = import_list(home, "litellm", str(path), DAY)
    page = tmp_path / "page.json"
    page.write_bytes(b"<html>")
    gone = tmp_path / "gone.json"

    assert refused(home, page) == f"{page}: is not JSON (line 1, column 1); fetch the list anew from its publisher"
    assert refused(home, gone) == f"{gone}: cannot be read (No such file or directory); check the path"
    assert refused(home, tmp_path) == f"{tmp_path}: is not a file; give the list itself"
    assert refused(home, "/dev/zero") == "/dev/zero: is not a file; give the list itself"
    assert refused(home, "a\0b").endswith("is not a path (embedded null byte); give a path or an http(s) URL")
    assert refused(home, path, "models.dev") == (
        f"{path}: has no price of a known model, so it is no list of models.dev; try https://models.dev/api.json"
    )
    monkeypatch.setattr(store, "MOST_BYTES", 10)
    assert refused(home, path).endswith("list.json: is larger than 0 MB, and no price list is; check what it is")
    assert current_lists(home) == [good]


def test_a_relative_path_is_kept_whole(home: Home, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    assert import_list(home, "litellm", "list.json", DAY).origin == str(path)

    monkeypatch.setenv("HOME", str(path.parent))
    assert import_list(home, "litellm", "~/list.json", DAY).origin == str(path)


@pytest.mark.parametrize(
    ("origin", "shown"),
    [
        ("file:///etc/passwd", "file:///etc/passwd"),
        ("FILE:/etc/passwd", "file:///etc/passwd"),
        ("ftp://user:secret@example.org/list.json", "ftp://example.org/list.json"),
        ("https:///list.json?key=secret", "https:///list.json"),
        ("data://text", "data://text"),
    ],
)
def test_only_http_is_fetched(home: Home, origin: str, shown: str) -> None:
    assert refused(home, origin) == f"{shown}: is not fetched; give a path or an http(s) URL"


def test_a_url_that_is_none(home: Home) -> None:
    assert refused(home, "http://[::1/list.json?key=secret") == (
        "the URL cannot be understood; give one such as https://models.dev/api.json"
    )
    for origin in ("http://example.org:port/l?secret", "http://127.0.0.1/a b?secret", "http://127.0.0.1/\u00e9?secret"):
        message = refused(home, origin)
        assert message.endswith("); check the URL and the network")
        assert "secret" not in message


# ------------------------------------------------------------------ a server


class Server:
    """Answers by path, and remembers what it was asked with."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.body = listed()
        self.stop = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                getattr(outer, "get_" + self.path.split("?")[0].strip("/").replace("-", "_"))(self)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def answer(self, handler: BaseHTTPRequestHandler, status: int = 200, **headers: str) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()

    def get_list(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, **{"Content-Length": str(len(self.body))})
        handler.wfile.write(self.body)

    def get_gone(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, 404)

    def get_moved(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, 302, Location="/list")

    def get_circle(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, 302, Location="/circle")

    def get_to_file(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, 302, Location="file:///etc/passwd")

    def get_to_ftp(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, 302, Location="ftp://127.0.0.1/list.json")

    def get_short(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler, **{"Content-Length": str(len(self.body) + 7)})
        handler.wfile.write(self.body)

    def get_endless(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler)
        while not self.stop.is_set():
            handler.wfile.write(b" " * 65_536)

    def get_silent(self, handler: BaseHTTPRequestHandler) -> None:
        self.stop.wait(5)

    def get_drip(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler)
        while not self.stop.wait(0.01):
            handler.wfile.write(b" ")

    def get_page(self, handler: BaseHTTPRequestHandler) -> None:
        self.answer(handler)
        handler.wfile.write(b"<html>")

    def get_nonsense(self, handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"SSH-2.0\r\n\r\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(ThreadingHTTPServer, "handle_error", lambda *_: None)
    found = Server()
    yield found
    found.stop.set()
    found.http.shutdown()
    found.http.server_close()


def test_a_list_is_fetched(home: Home, server: Server) -> None:
    imported = import_list(home, "litellm", server.url("list"), DAY)

    assert (imported.origin, imported.rows) == (server.url("list"), 1)
    asked, headers = server.requests[0]
    assert asked == "/list"
    assert headers["User-Agent"].startswith("tokenledger/")
    assert "Authorization" not in headers


def test_secrets_of_a_url_are_used_and_not_kept(home: Home, server: Server) -> None:
    origin = f"http://ada:p%40ss@127.0.0.1:{server.port}/list?token=secret#part"

    imported = import_list(home, "litellm", origin, DAY)

    asked, headers = server.requests[0]
    assert asked == "/list?token=secret"
    assert headers["Authorization"] == "Basic YWRhOnBAc3M="
    assert imported.origin == server.url("list")
    assert b"secret" not in (home.root / "price-lists" / "index.json").read_bytes()
    message = refused(home, origin.replace("/list?", "/gone?"))
    assert message == f"{server.url('gone')}: the server answered 404; check the URL"


def test_a_redirect_is_followed_without_the_secret(home: Home, server: Server) -> None:
    origin = server.url("moved")

    imported = import_list(home, "litellm", origin.replace("//", "//ada:pass@"), DAY)

    assert imported.origin == origin
    assert [(path, "Authorization" in headers) for path, headers in server.requests] == [
        ("/moved", True),
        ("/list", False),
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone", "the server answered 404; check the URL"),
        ("circle", "is redirected in circles, or to what is not http(s); check the URL"),
        ("to-file", "is redirected in circles, or to what is not http(s); check the URL"),
        ("to-ftp", "cannot be fetched (unknown url type: ftp); check the URL and the network"),
        ("short", "ended 7 bytes too early; import the list again"),
        ("page", "is not JSON (line 1, column 1); fetch the list anew from its publisher"),
        ("nonsense", "cannot be fetched (BadStatusLine); check the URL and the network"),
    ],
)
def test_a_server_that_gives_no_list(home: Home, server: Server, path: str, message: str) -> None:
    assert refused(home, server.url(path)) == f"{server.url(path)}: {message}"


def test_nobody_answers(home: Home, server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()

    message = refused(home, server.url("list"))

    assert message == f"{server.url('list')}: cannot be fetched (Connection refused); check the URL and the network"


def test_a_server_has_a_time_limit(home: Home, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "TIMEOUT_SECONDS", 0.1)
    assert refused(home, server.url("silent")).endswith(
        "cannot be fetched (no answer within 0.1 s); check the URL and the network"
    )

    monkeypatch.setattr(store, "LONGEST_SECONDS", 0.1)
    assert refused(home, server.url("drip")).endswith("drip: took more than 0.1 s; fetch it yourself and give its path")


def test_a_server_has_a_size_limit(home: Home, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_BYTES", 1 << 20)

    assert refused(home, server.url("endless")).endswith(
        "endless: is larger than 1 MB, and no price list is; check what it is"
    )


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"schema_version": 1}',
        b'{"schema_version": 1, "lists": [{}], "first_observed": {}}',
        b'{"schema_version": 1, "lists": {}, "first_observed": {"../../x": "2026-11-20"}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_index_is_an_error_with_a_remedy(home: Home, path: Path, content: bytes) -> None:
    index = home.root / "price-lists" / "index.json"
    index.parent.mkdir()
    index.write_bytes(content)

    for action in (
        lambda: current_lists(home),
        lambda: remove_list(home, "litellm"),
        lambda: import_list(home, "litellm", str(path), DAY),
    ):
        with pytest.raises(PriceListError) as caught:
            action()
        assert str(caught.value).startswith(f"{index}: is damaged (")
        assert str(caught.value).endswith("); delete it and import the lists again")
    assert index.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 2 is newer than this program; update tokenledger"),
        ({"lists": "twice"}, "is damaged (two current lists of a source); delete it and import the lists again"),
        ({"sha256": "../../../home"}, "is damaged ("),
        ({"source": "../litellm"}, "is damaged ("),
        ({"rows": "many"}, "is damaged ("),
    ],
)
def test_an_index_that_was_changed(home: Home, path: Path, change: dict[str, Any], message: str) -> None:
    import_list(home, "litellm", str(path), DAY)
    index = home.root / "price-lists" / "index.json"
    content = json.loads(index.read_bytes())
    if change == {"lists": "twice"}:
        content["lists"] *= 2
    elif change.keys() <= content.keys():
        content |= change
    else:
        content["lists"][0] |= change
    index.write_text(json.dumps(content))

    with pytest.raises(PriceListError) as caught:
        current_lists(home)

    assert str(caught.value).startswith(f"{index}: {message}")


def test_rows_that_are_not_those_imported(home: Home, path: Path) -> None:
    imported = import_list(home, "litellm", str(path), DAY)
    rows = home.root / "price-lists" / "litellm" / f"{imported.sha256}.csv"
    rows.write_bytes(rows.read_bytes().replace(b"2000000000", b"1000000000"))

    with pytest.raises(PriceListError) as changed:
        list_rows(home, imported)
    rows.unlink()
    with pytest.raises(PriceListError) as gone:
        list_rows(home, imported)
    mended = import_list(home, "litellm", str(path), DAY)

    assert str(changed.value) == f"{rows}: is not what was imported (other SHA-256); import the list again"
    assert str(gone.value) == f"{rows}: cannot be read (No such file or directory); import the list again"
    assert mended == imported
    assert len(list_rows(home, imported)) == 1


def test_a_key_with_a_comma_comes_back(home: Home, tmp_path: Path) -> None:
    found = tmp_path / "odd.json"
    found.write_bytes(listed().replace(b'"gpt-5.4"', b'"gpt-5.4,"'))

    imported = import_list(home, "litellm", str(found), DAY)

    assert [(row[1], row[20]) for row in list_rows(home, imported)] == [("gpt-5.4", "gpt-5.4,")]


def test_a_disk_that_refuses_leaves_the_current_list(
    home: Home, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = import_list(home, "litellm", str(path), DAY)
    other = tmp_path / "newer.json"
    other.write_bytes(listed(3.0))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_json_atomic", full)
    with pytest.raises(PriceListError) as caught:
        import_list(home, "litellm", str(other), DAY)
    with pytest.raises(PriceListError, match=r"No space left on device"):
        remove_list(home, "litellm")

    assert str(caught.value) == (
        f"{home.root / 'price-lists'}: cannot be written (No space left on device); "
        "check its permissions and the room on the disk"
    )
    assert current_lists(home) == [good]

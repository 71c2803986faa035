"""The example readers of published files: what they show, and that nothing that may lie there upsets them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.docs.conftest import Sample
from tests.docs.generated import ROOT
from tokenledger_dagster import home_files
from tokenledger_dagster.cli.main import main

EXAMPLES = ROOT / "docs" / "integrations" / "examples"
NOW = 1_772_438_400.0
"""2026-03-02T08:00:00Z"""
SNAPSHOT = {
    "schema_version": 1,
    "generated_at": "2026-03-02T07:59:30Z",
    "month": "2026-03",
    "mode": "compact",
    "totals": {"cost_usd": 12.345, "tokens": 1_250_000, "session_count": 3},
    "top_models": [{"name": "claude-sonnet-4-5", "tokens": 1_000_000}],
}
SHOWN = "2026-03 | $12.35 | 1.2M tokens | claude-sonnet-4-5"


def changed(**fields: Any) -> bytes:
    return json.dumps({key: value for key, value in {**SNAPSHOT, **fields}.items() if value is not None}).encode()


def totals(**fields: Any) -> bytes:
    return changed(totals={"cost_usd": 1, "tokens": 1, **fields})


WHOLE = changed()
CASES: dict[str, tuple[bytes | None, str, str]] = {
    "as published": (WHOLE, "ok", SHOWN),
    "no file": (None, "absent", ""),
    "empty": (b"", "damaged", ""),
    "half of it": (WHOLE[: len(WHOLE) // 2], "damaged", ""),
    "one byte short": (WHOLE[:-1], "damaged", ""),
    "two of them": (WHOLE + WHOLE, "damaged", ""),
    "NUL bytes": (WHOLE.replace(b" ", b"\0"), "damaged", ""),
    "not UTF-8": (WHOLE.replace(b"sonnet", b"\xff\xfe"), "damaged", ""),
    "a byte order mark": (b"\xef\xbb\xbf" + WHOLE, "damaged", ""),
    "NaN": (WHOLE.replace(b"12.345", b"NaN"), "damaged", ""),
    "no finite number": (WHOLE.replace(b"12.345", b"1e999"), "damaged", ""),
    "deeply nested": (b"[" * 200_000 + b"]" * 200_000, "damaged", ""),
    "a list": (b"[1]", "damaged", ""),
    "huge": (WHOLE + b" " * (4 << 20), "damaged", ""),
    "a later version": (changed(schema_version=2), "unsupported", "TokenLedger: update this extension"),
    "a version that is none": (changed(schema_version="1"), "damaged", ""),
    "a version that is a truth": (changed(schema_version=True), "damaged", ""),
    "no version": (changed(schema_version=None), "damaged", ""),
    "unknown fields": (changed(later={"deep": [1]}, totals={**SNAPSHOT["totals"], "carbon_kg": 1}), "ok", SHOWN),
    "fields in another order": (json.dumps(dict(reversed(SNAPSHOT.items()))).encode(), "ok", SHOWN),
    "no totals": (changed(totals=None), "damaged", ""),
    "a cost in words": (totals(cost_usd="12"), "damaged", ""),
    "tokens below zero": (totals(tokens=-1), "damaged", ""),
    "half a token": (totals(tokens=0.5), "damaged", ""),
    "a number of tokens with a point": (totals(tokens=1e3), "ok", "2026-03 | $1.00 | 1.0k tokens | claude-sonnet-4-5"),
    "no models yet": (changed(top_models=[]), "ok", "2026-03 | $12.35 | 1.2M tokens"),
    "a model without a name": (changed(top_models=[{}]), "ok", "2026-03 | $12.35 | 1.2M tokens"),
    "a name that steers terminals": (
        changed(top_models=[{"name": "\x1b[31mred\u009b\n"}]),
        "ok",
        "2026-03 | $12.35 | 1.2M tokens | [31mred",
    ),
    "a long name": (changed(top_models=[{"name": "m" * 99}]), "ok", f"2026-03 | $12.35 | 1.2M tokens | {'m' * 40}"),
    "made an hour ago": (changed(generated_at="2026-03-02T07:00:00Z"), "ok", SHOWN),
    "made three hours ago": (changed(generated_at="2026-03-02T05:00:00Z"), "stale", f"{SHOWN} | 3 h old"),
    "made last month": (changed(generated_at="2026-02-02T08:00:00Z"), "stale", f"{SHOWN} | 28 d old"),
    "made in the future": (changed(generated_at="2026-03-02T09:00:00.5Z"), "ok", SHOWN),
    "made at no time": (changed(generated_at="yesterday"), "damaged", ""),
    "made in another zone": (changed(generated_at="2026-03-02T08:00:00+01:00"), "damaged", ""),
    "few tokens": (totals(tokens=999, cost_usd=0), "ok", "2026-03 | $0.00 | 999 tokens | claude-sonnet-4-5"),
    "many tokens": (
        totals(tokens=10**13, cost_usd=1e6),
        "ok",
        "2026-03 | $1000000.00 | 10000.0B tokens | claude-sonnet-4-5",
    ),
}
RUNS: dict[str, tuple[bytes | None, int]] = {
    "no run yet": (None, 0),
    "all passed": (b'{"schema_version": 1, "checks": {"failed": 0}}', 0),
    "two failed": (b'{"schema_version": 1, "checks": {"failed": 2}}', 2),
    "half a summary": (b'{"schema_version": 1, "checks": {"fai', 0),
    "a later version": (b'{"schema_version": 2, "checks": {"failed": 2}}', 0),
    "other types": (b'{"schema_version": 1, "checks": {"failed": "many"}}', 0),
    "no checks": (b'{"schema_version": 1, "checks": [3]}', 0),
}


def lay(folder: Path, snapshot: bytes | None, run: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (("ui-snapshot.json", snapshot), ("orchestrate-latest-summary.json", run)):
        if data is not None:
            (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def bar() -> ModuleType:
    spec = importlib.util.spec_from_file_location("status_bar", EXAMPLES / "status_bar.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["status_bar"] = module
    spec.loader.exec_module(module)
    return module


def expected() -> dict[str, dict[str, Any]]:
    told = {name: {"state": state, "text": text, "failed_checks": 0} for name, (_, state, text) in CASES.items()}
    for name, (_, failed) in RUNS.items():
        text = f"{SHOWN} | {failed} checks failed" if failed else SHOWN
        told[f"run: {name}"] = {"state": "ok", "text": text, "failed_checks": failed}
    return told


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("homes")
    laid = {name: lay(root / str(number), data) for number, (name, (data, *_)) in enumerate(CASES.items())}
    for number, (name, (run, _)) in enumerate(RUNS.items()):
        laid[f"run: {name}"] = lay(root / f"run{number}", WHOLE, run)
    return laid


@pytest.mark.parametrize("name", expected())
def test_python_shows(bar: ModuleType, homes: dict[str, Path], name: str) -> None:
    found = bar.line(homes[name], NOW)

    assert {key: getattr(found, key) for key in ("state", "text", "failed_checks")} == expected()[name]


# ------------------------------------------------------------------ JavaScript

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed here")
ALL = """
import { readFileSync } from "node:fs";
import { line } from "./snapshot.mjs";
const homes = JSON.parse(readFileSync(0, "utf8"));
const told = {};
for (const [name, folder] of Object.entries(homes)) told[name] = line(folder, %s);
console.log(JSON.stringify(told));
"""


def node(*arguments: str, cwd: Path = EXAMPLES, given: str = "", **environ: str) -> str:
    done = subprocess.run(
        ["node", *arguments],
        cwd=cwd, input=given, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@needs_node
def test_javascript_shows_the_same(homes: dict[str, Path]) -> None:
    folders = {name: str(folder) for name, folder in homes.items()}
    told = json.loads(node("--input-type=module", "-e", ALL % NOW, given=json.dumps(folders)))

    assert told == expected()


@needs_node
def test_javascript_prints_the_line_of_a_home(homes: dict[str, Path]) -> None:
    told = json.loads(node("snapshot.mjs", "--home", str(homes["as published"]), "--now", str(NOW)))

    assert told == {"state": "ok", "text": SHOWN, "failed_checks": 0}


PLUGIN = """
import { writeFileSync } from "node:fs";
import { TokenLedger } from "./tokenledger.js";
const shown = [];
const showToast = async ({ body }) => { shown.push(body); if (shown.length > 1) throw new Error("no screen"); };
const client = { tui: { showToast } };
const { event } = await TokenLedger({ client });
await event({ event: { type: "session.idle" } });                   // no file yet: nothing
writeFileSync("ui-snapshot.json", process.argv[2]);
await event({ event: { type: "message.updated" } });                // not this event
await event({ event: { type: "session.idle" } });
await event({ event: { type: "session.idle" } });                   // nothing new
writeFileSync("ui-snapshot.json", process.argv[3]);
await event({ event: { type: "session.idle" } });                   // a toast that nobody can see
console.log(JSON.stringify(shown));
"""


@needs_node
def test_opencode_plugin_tells_what_changed_when_a_session_falls_idle(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "opencode-plugin.js", tmp_path / "tokenledger.js")
    shutil.copy(EXAMPLES / "snapshot.mjs", tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "run.js").write_text(PLUGIN)
    first = changed(generated_at="2999-01-01T00:00:00Z").decode()
    second = changed(generated_at="2026-03-02T08:00:00Z").decode()

    shown = json.loads(node("run.js", first, second, cwd=tmp_path, TOKENLEDGER_HOME=str(tmp_path)))

    assert shown[0] == {"message": SHOWN, "variant": "info"}
    assert shown[1]["variant"] == "warning"
    assert shown[1]["message"].startswith(f"{SHOWN} | ")
    assert len(shown) == 2


# ------------------------------------------------------------------ watching


def test_a_watcher_keeps_the_last_good_line(bar: ModuleType, tmp_path: Path) -> None:
    watcher = bar.Watcher(lay(tmp_path, WHOLE))

    assert watcher.look(NOW).text == SHOWN
    lay(tmp_path, WHOLE[:40])
    assert watcher.look(NOW).text == SHOWN
    (tmp_path / "ui-snapshot.json").unlink()
    assert watcher.look(NOW).text == ""
    lay(tmp_path, WHOLE[:40])
    assert watcher.look(NOW).text == ""


def test_what_is_no_file_is_damaged(bar: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "ui-snapshot.json").mkdir()

    assert bar.line(tmp_path, NOW).state == "damaged"


# ------------------------------------------------------------------ together with the program


@pytest.mark.parametrize(
    "environ",
    [
        {"HOME": "/home/ada"},
        {"HOME": "/home/ada", "XDG_DATA_HOME": "/data"},
        {"HOME": "/home/ada", "XDG_DATA_HOME": "relative"},
        {"HOME": "/home/ada", "TOKENLEDGER_HOME": "/ledger"},
    ],
)
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_readers_look_where_the_program_writes(
    bar: ModuleType, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], system: str
) -> None:
    monkeypatch.setattr(home_files.sys, "platform", system)
    if system == "darwin" and environ.get("XDG_DATA_HOME") == "relative":
        pytest.skip("the two ways of the program to find it differ there")
    found = home_files.root_of(environ)

    assert str(bar.home(environ, system)) == found
    if shutil.which("node"):
        code = f"import {{ home }} from './snapshot.mjs'; console.log(home({json.dumps(environ)}, '{system}'))"
        assert node("--input-type=module", "-e", code).strip() == found


def test_both_show_what_the_program_published(
    bar: ModuleType, sample: Sample, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in sample.environ.items():
        monkeypatch.setenv(name, value)
    assert main(["snapshot", "--month", "2026-10"]) == 0
    published = json.loads(capfd.readouterr().out)
    found = bar.line(sample.home.root, bar._seconds(published["generated_at"]))

    assert found.state == "ok"
    assert found.text.startswith("2026-10 | $")
    assert found.text.endswith(published["top_models"][0]["name"])
    if shutil.which("node"):
        told = json.loads(node("snapshot.mjs", "--home", str(sample.home.root)))
        assert told["text"] == found.text


def test_the_program_prints_one_line(homes: dict[str, Path]) -> None:
    command = [sys.executable, "-I", EXAMPLES / "status_bar.py", "--now", str(NOW), "--home"]
    shown = [
        subprocess.run([*command, homes[name]], capture_output=True, text=True, check=True).stdout
        for name in ("as published", "no file")
    ]

    assert shown == [f"{SHOWN}\n", ""]

"""How long a change of a log takes to reach the UI snapshot while `dagster dev` runs with the switch of automation on.

Here: a home, logs and a Dagster history of their own, the checkout's `dagster.yaml` and `workspace.yaml`, requests
appended, the clock read, and which assets ran. Not here: assertions (`test_daemon.py`).

    python tests/dagster/measure_daemon.py --changes 3
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SAMPLE = ROOT / "fixtures" / "sample" / "home"
PATIENCE = 120.0


class Daemon:
    """A running `dagster dev` over a copy of the sample."""

    def __init__(self, folder: Path, environment: dict[str, str], process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.snapshot = folder / "ledger" / "ui-snapshot.json"
        self.environment = environment
        self.process = process

    def last_run(self) -> list[str]:
        """Keys of the assets that the last run of the sensor was asked for; empty for all."""
        import dagster as dg

        with dg.DagsterInstance.from_config(str(self.folder / "dagster")) as instance:
            asked_for = dg.RunsFilter(job_name="orchestrate", tags={"dagster/sensor_name": "on_change"})
            run = instance.get_runs(asked_for, limit=1)[0]
        return sorted(key.to_user_string() for key in run.asset_selection or ())

    def requests(self) -> int:
        """Tokens that the snapshot shows; 0 where there is none yet."""
        try:
            return int(json.loads(self.snapshot.read_bytes())["totals"]["tokens"])
        except FileNotFoundError:
            return 0

    def append(self) -> None:
        """One more request of 1,000 tokens in a Codex log."""
        log = next(self.home.rglob("*019a1cb8-9eb2-7c67-a2d4-adac18b10d4b.jsonl"))
        row = json.loads(log.read_bytes().splitlines()[-1])
        row["timestamp"] = f"{row['timestamp'][:-5]}{int(row['timestamp'][-4:-1]) + 1:03d}Z"
        for counters in (row["payload"]["info"][name] for name in ("total_token_usage", "last_token_usage")):
            counters["input_tokens"] += 1_000
            counters["total_tokens"] += 1_000
        with log.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")

    def seconds_until(self, changed_from: int) -> float:
        """Waits until the snapshot shows something else; raises TimeoutError when that takes minutes."""
        started = time.monotonic()
        while self.requests() == changed_from:
            if time.monotonic() - started > PATIENCE or self.process.poll() is not None:
                raise TimeoutError("the snapshot did not change")
            time.sleep(0.1)
        return time.monotonic() - started


@contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """`dagster dev` on a free port; when left, it and all that it started are gone."""
    shutil.copytree(SAMPLE, folder / "home")
    (folder / "dagster").mkdir()
    # the same settings, but a history below the folder
    settings = (ROOT / "dagster.yaml").read_text("utf-8").replace("base_dir: .dagster", f"base_dir: {folder}/dagster")
    (folder / "dagster" / "dagster.yaml").write_text(settings, "utf-8")
    elsewhere = ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "TOKENLEDGER_EXECUTOR")
    environment = {name: value for name, value in os.environ.items() if name not in elsewhere} | {
        "HOME": str(folder / "home"),
        "TOKENLEDGER_HOME": str(folder / "ledger"),
        "DAGSTER_HOME": str(folder / "dagster"),
        "TOKENLEDGER_AUTOMATION": "true",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "TZ": "UTC",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(BIN / "dagster"), "dev", "--port", str(port)]
    with (folder / "dagster-dev.log").open("wb") as log:
        # a session of its own: whatever it starts can be found and stopped
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_for_server(process, port)
            yield Daemon(folder, environment, process)
        finally:
            _stop(process)


def _wait_for_server(process: subprocess.Popen[bytes], port: int) -> None:
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < PATIENCE:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5):
            return
        time.sleep(0.2)
    raise TimeoutError("`dagster dev` does not answer")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what outlived its parent
    process.wait()


def measure(folder: Path, changes: int) -> dict[str, Any]:
    """Seconds until the first snapshot, then from each append to the snapshot that shows it."""
    with running(folder) as daemon:
        first = daemon.seconds_until(0)
        found = []
        for number in range(changes):
            time.sleep(20 + 1.7 * number)  # the run before is over; not in step with the daemon
            before = daemon.requests()
            daemon.append()
            found.append(round(daemon.seconds_until(before), 1))
        ran = daemon.last_run()
    return {"first_snapshot_seconds": round(first, 1), "append_to_snapshot_seconds": found, "assets_run": ran}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=3, help="how often a log is appended to (default: 3)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(Path(folder), options.changes), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Promises of docs/governance: each command says what it writes, each policy names what enforces it, and both hold."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import pytest

from tests.docs.generated import ROOT
from tests.support import World, claude
from tokenledger_dagster.cli.completion_words import command_tree
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.governance.invariants import INVARIANTS

PAGES = ROOT / "docs" / "governance"
SAFETY = (PAGES / "safety.md").read_text("utf-8")
COMPLIANCE = (PAGES / "compliance.md").read_text("utf-8")


def _rows(text: str, header: str) -> list[list[str]]:
    lines = text.split(f"\n{header}", 1)[1].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in _table(lines)]


def _table(lines: list[str]) -> list[str]:
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return lines[:end]


# ------------------------------------------------------------------ safety

LISTED = _rows(SAFETY, "| command | without a flag | with |") + _rows(SAFETY, "| command | makes | from |")
COMMANDS = {" ".join(one.path): one for one in command_tree().every() if one.path and not one.actions}


def test_every_command_says_what_it_writes() -> None:
    named = [name for row in LISTED for name in re.findall(r"`([a-z ]+)`", row[0])]

    assert sorted(named) == sorted(set(named))
    assert set(COMMANDS) - set(named) == set(), "say what it writes in docs/governance/safety.md"
    assert set(named) - set(COMMANDS) == set()


def test_flags_of_the_table_are_those_of_the_commands() -> None:
    for row in _rows(SAFETY, "| command | without a flag | with |"):
        flags = set(re.findall(r"`(--[a-z-]+)`", row[2]))
        names = re.findall(r"`([a-z ]+)`", row[0])
        known = {name for command in names for option in COMMANDS[command].options for name in option.names}
        assert flags <= known, row


OWN = {
    "pricing.json": b'{"schema_version": 1, "meta": {"source": "me", "updated_at": "2026-02-01"}, "providers": {}}',
    "plans.yaml": b"schema_version: 1\nsubscriptions: []\n",
    "overrides.yaml": b"schema_version: 1\n",
}
BARE = [
    ["sync"],
    ["report", "daily"],
    ["costs"],
    ["suggestions"],
    ["events"],
    ["duplicates"],
    ["snapshot"],
    ["explain", "--kind", "daily", "--key", "2026-02-18"],
    ["doctor"],
    ["pricing", "lint"],
    ["pricing", "audit", "--allow-stale"],
    ["pricing", "check", "--allow-unpriced"],
    ["pricing", "coverage"],
    ["pricing", "apply", "patch.json"],
    ["pricing", "reconcile", "--allow-unpriced"],
    ["pricing", "lists"],
    ["pricing", "reprice"],
    ["retention"],
    ["ledger", "refresh", "--allow-missing-snapshot"],
    ["ledger", "validate"],
    ["ledger", "diff"],
    ["ledger", "pareto", "--committed"],
    ["completion", "bash"],
]
"""Bare calls; what each writes beside logs and own files is what the table says."""
PATCH = (
    b'{"schema_version": 1, "meta": {"source": "by hand"}, "providers": {"claude": {"models": {"acme-coder-9": '
    b'{"input_usd_per_mtok": 1, "output_usd_per_mtok": 2}}}}}'
)


def _digests(*folders: Path) -> dict[str, str]:
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
def test_a_bare_call_changes_neither_logs_nor_own_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.claude(claude("m1", "r1", input=100, output=10), claude("m2", "r2", input=9, model="acme-coder-9"))
    monkeypatch.setenv("HOME", str(world.home_dir))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(world.ledger.root))
    monkeypatch.setenv("TZ", "UTC")
    here = tmp_path / "here"
    here.mkdir()
    (here / "patch.json").write_bytes(PATCH)
    monkeypatch.chdir(here)
    for name, content in OWN.items():
        (world.ledger.root / name).write_bytes(content)
    kept = (world.home_dir, here, ROOT / "ledger", ROOT / "config")
    before = _digests(*kept)

    for arguments in BARE:
        assert main(arguments) in (0, 1, 3), (arguments, capfd.readouterr().err)

    assert _digests(*kept) == before
    assert {name: (world.ledger.root / name).read_bytes() for name in OWN} == OWN
    # and with the flag it does: the patch can be written
    assert main(["pricing", "apply", "patch.json", "--write"]) == 0
    assert (world.ledger.root / "pricing.json").read_bytes() != OWN["pricing.json"]
    assert [path.read_bytes() for path in world.ledger.root.glob("pricing.json.*.bak")] == [OWN["pricing.json"]]


# ------------------------------------------------------------------ compliance

PROMISES = _rows(COMPLIANCE, "| promise | enforced by |")


def _tests_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda row: row[0])
def test_what_enforces_a_promise_exists(promise: list[str]) -> None:
    named = re.findall(r"(workflow )?`([^`]+)`", promise[1])

    assert named
    for is_workflow, name in named:
        path, _, test = name.partition("::")
        if is_workflow:
            assert (ROOT / ".github" / "workflows" / name).is_file(), name
        elif test:
            assert test in _tests_of(ROOT / path), name
        else:
            assert name in INVARIANTS, name


def test_only_what_enforces_stands_in_the_table() -> None:
    rest = [re.sub(r"(workflow )?`[^`]+`", "", row[1]) for row in PROMISES]

    assert [text for text in rest if text.strip(" ,")] == []


# ------------------------------------------------------------------ artifacts


def test_every_artifact_of_a_home_is_on_the_page_of_homes() -> None:
    text = (PAGES.parent / "contracts" / "home.md").read_text("utf-8")
    listed = [
        re.findall(r"`([^`]+)`", row[0]) for row in _rows((PAGES / "artifacts.md").read_text("utf-8"), "| artifact |")
    ]
    own = [name for names in listed for name in names if not name.startswith(("config/", "docs/", "fixtures/"))]
    missing = [name for name in own if name.split("/")[0].split("<")[0].rstrip("-*") not in text]

    assert missing == []

"""``tokenledger search`` from a person's logs to the answer, with a toy model and with words as dimensions."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ran
from tests.inference.toy import toy_model
from tests.inference.words import Words, rules
from tests.support import World, claude, meta, plain_environ, tokens, turn, user
from tokenledger_dagster.cli import search as command
from tokenledger_dagster.cli.main import main
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference import embedder, session_vectors, vector_store
from tokenledger_dagster.inference.switch import model_folder
from tokenledger_dagster.inference.vector_files import folder_of, live_files, writing
from tokenledger_dagster.inference.vector_index import cache_folder

for package in ("safetensors", "tokenizers", "onnxruntime"):
    pytest.importorskip(package, reason="a package of the extra `inference`")

Search = Callable[..., Ran]
PARSER, STYLE, INVOICE = "fix the flaky test in the parser", "the css of the login page", "export an invoice"


def said(text: str, minutes: float) -> dict[str, Any]:
    """What a person typed into Codex."""
    row = tokens(minutes=minutes)
    return {**row, "payload": {"type": "user_message", "message": text}}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_model(tmp_path_factory.mktemp("model") / "toy").root


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path) -> World:
    """Three sessions, and a home with a model."""
    world = World(tmp_path)
    monkeypatch.setenv("HOME", str(world.home_dir))
    monkeypatch.setenv("TOKENLEDGER_HOME", str(world.ledger.root))
    monkeypatch.setenv("COLUMNS", "200")
    world.claude(user(PARSER), claude(input=1000, output=200, minutes=1))
    world.claude(user(INVOICE, 99, "s2"), claude("m2", "r2", minutes=100, session="s2", model="acme"), name="s2.jsonl")
    world.codex(meta(), said(STYLE, 1), turn(), tokens((1000, 400, 50), minutes=2))
    folder = model_folder(world.ledger).root
    folder.parent.mkdir()
    folder.symlink_to(model)
    return world


@pytest.fixture
def search(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> Search:
    """Runs the command in this process."""

    def ran(*arguments: str) -> Ran:
        try:
            code = main(["search", *arguments])
        except SystemExit as leaving:  # argparse
            code = int(leaving.code or 0)
        told = capfdbinary.readouterr()
        return Ran(code, told.out.decode(), told.err.decode())

    return ran


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> Words:
    """An embedder whose likeness a person can work out stands in for the model."""

    class Opened(Words):
        model, closed = "toy/words", 0

        def __enter__(self) -> Words:
            return self

        def __exit__(self, *problem: object) -> None:
            self.closed += 1

    found = Opened(max_tokens=40)
    monkeypatch.setattr(embedder, "open_embedder", lambda *_, **__: found)
    return found


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed may be read."""
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS", "true")


def found(ran: Any) -> list[str]:
    return [hit["session_id"] for hit in ran.json["results"]]


def files(home: Home) -> list[str]:
    return [one.path.name for one in live_files(folder_of(home))]


# ------------------------------------------------------------------ the toy model, end to end


@pytest.mark.usefixtures("reading")
def test_logs_are_read_embedded_and_answered_by_the_model_of_the_home(search: Search, world: World) -> None:
    first = search(PARSER, "--json")

    assert (first.code, first.err) == (0, "")
    assert (first.json["results"][0]["session_id"], first.json["results"][0]["score"]) == ("s1", 1.0)
    assert first.json["model"]["actual"] == first.json["model"]["requested"] == "onnx"
    assert first.json["index"] == {"sessions": 3, "vectors": 3, "matching": 3, "left_out": 0, "pending": 0}
    before = files(world.ledger)
    assert search(STYLE, "--limit", "1", "--json").json["results"][0]["client"] == "codex"
    assert files(world.ledger) == before

    world.append(world.claude_path("s2.jsonl"), user("deploy the docs", 110, "s2"))
    changed = search(f"{INVOICE}\ndeploy the docs", "--json").json
    assert (changed["results"][0]["session_id"], changed["results"][0]["score"]) == ("s2", 1.0)
    assert (changed["index"]["vectors"], len(files(world.ledger))) == (3, 2)


# ------------------------------------------------------------------ what is shown


@pytest.mark.usefixtures("reading", "words")
def test_a_table_tells_likeness_cost_and_that_scores_are_estimates(search: Search) -> None:
    shown = search("flaky", "parser")

    assert (shown.code, shown.err) == (0, "")
    lines = shown.out.splitlines()
    assert " ".join(lines[0].split()) == "Session Client Project Models First Last Score Margin Tokens List price"
    assert " ".join(lines[2].split()) == (
        "s1 claude-code /home/ada/code/tidepool claude-sonnet-4-5 2026-02-18 2026-02-18 0.324 0.324 1,200 $0.0060"
    )
    assert lines[-1] == (
        "3 of 3 sessions; scores are estimates of likeness (cosine, toy/words fp32 by numpy), margin is the distance "
        "to the next one; onnx was asked for: onnx: not installed"
    )


@pytest.mark.usefixtures("reading", "words")
def test_csv_has_every_figure_and_markdown_is_a_table(search: Search) -> None:
    rows = list(csv.DictReader(io.StringIO(search("invoice", "--format", "csv").out)))
    assert rows[0] == {
        "Session": "s2",
        "Client": "claude-code",
        "Project": "/home/ada/code/tidepool",
        "Models": "acme",
        "First": "2026-02-18T10:30:00Z",
        "Last": "2026-02-18T10:30:00Z",
        "Score": "0.447214",
        "Margin": "0.447214",
        "Tokens": "15",
        "List price USD": "",
        "Cost USD": "",
    }
    markdown = search("invoice", "--format", "markdown").out.splitlines()
    assert (markdown[0].count("|"), markdown[1][:5], len(markdown)) == (11, "| ---", 5)


@pytest.mark.usefixtures("reading", "words")
def test_filters_choose_sessions(search: Search) -> None:
    assert found(search("x", "--client", "codex", "--json")) == ["t1"]
    assert found(search("x", "--project", "kelp", "--json")) == ["t1"]
    assert sorted(found(search("x", "--until", "2026-02-18", "--json"))) == ["s1", "s2", "t1"]
    assert len(found(search("x", "--limit", "2", "--json"))) == 2
    assert found(search("parser", "--min-score", "0.1", "--json")) == ["s1"]


# ------------------------------------------------------------------ prompts


def test_nothing_is_read_until_it_is_switched_on(search: Search, world: World, words: Words) -> None:
    off = search("parser")

    assert (off.code, off.out, words.asked) == (3, "", ["parser"])
    assert off.err.splitlines()[-1] == (
        "tokenledger search: no session is embedded yet, since prompts are not read; --read-prompts reads them once, "
        "TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true always"
    )
    assert found(search("parser", "--read-prompts", "--json"))[0] == "s1"
    # from then on what is embedded answers, and nothing new is read
    world.claude(user("docs", 5, "s3"), claude("m3", "r3", session="s3"), name="s3.jsonl")
    later = search("docs", "--json")
    assert (later.code, len(found(later)), later.json["index"]["pending"]) == (0, 3, None)
    assert later.err.startswith("prompts are not read, so nothing new is embedded; --read-prompts")


@pytest.mark.usefixtures("words")
def test_what_was_typed_is_shown_only_where_it_is_stored_and_asked_for(
    search: Search,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = search("parser", "--read-prompts", "--show-prompts")
    assert (refused.code, refused.out) == (2, "")
    assert "--show-prompts: prompts are not stored; TOKENLEDGER_FEATURE_INFERENCE_PROMPTS=true and" in refused.err
    for form in ("table", "json", "csv", "markdown"):
        ran = search("parser", "--read-prompts", "--format", form)
        assert ran.code == 0
        assert "flaky" not in ran.out + ran.err
    stored = [path for path in world.ledger.root.rglob("*") if path.is_file() and b"flaky test" in path.read_bytes()]
    assert stored == []

    for name in ("PROMPTS", "STORE_PROMPTS"):
        monkeypatch.setenv(f"TOKENLEDGER_FEATURE_INFERENCE_{name}", "true")
    assert "flaky" not in search("parser").out
    shown = search("parser", "--show-prompts", "--limit", "1")
    assert f"\ns1\n  > {PARSER}\n" in shown.out
    assert search("parser", "--show-prompts", "--limit", "1", "--json").json["results"][0]["prompts"] == [PARSER]

    # switched off again, the next search removes what was stored, and says so
    monkeypatch.delenv("TOKENLEDGER_FEATURE_INFERENCE_PROMPTS")
    after = search("parser")
    assert after.code == 0
    assert after.err.rstrip().endswith("the prompts kept there were removed, since `inference.store_prompts` is off")
    stored = [path for path in world.ledger.root.rglob("*") if path.is_file() and b"flaky test" in path.read_bytes()]
    assert stored == []


# ------------------------------------------------------------------ what goes wrong


def test_off_is_one_line_with_a_remedy(search: Search, world: World) -> None:
    model_folder(world.ledger).root.unlink()
    off = search("parser")
    assert (off.code, off.out) == (4, "")
    assert off.err == (
        f"tokenledger search: inference is off: no model in {model_folder(world.ledger).root}; run `make "
        "setup-inference`, then `tokenledger models build`\n"
    )


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([" "], "TEXT is empty"),
        (["x", "--limit", "0"], "--limit 0: use 1 or more"),
        (["x", "--min-score", "1.5"], "--min-score 1.5: use a number from -1 to 1"),
        (["x", "--min-score", "nan"], "--min-score nan: use a number"),
        (["x", "--client", "nobody"], "--client nobody: no such client"),
        (["x", "--since", "2026-03-01", "--until", "2026-02-01"], "is after --until"),
        ([], "TEXT is empty"),
        (["x", "--forget"], "--forget takes neither TEXT nor --format"),
    ],
)
def test_what_cannot_be_meant_exits_with_2(search: Search, given: list[str], told: str) -> None:
    ran = search(*given)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err


@pytest.mark.usefixtures("reading", "words")
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--no-index"], "no session is embedded yet"),
        (["--min-score", "0.9"], "none of 3 sessions reaches a score of 0.9; --min-score lowers it"),
        (["--project", "nowhere"], "none of 3 embedded sessions is one of projects nowhere"),
        (["--client", "codex", "--min-score", "1"], "none of 1 sessions of clients codex reaches a score of 1.0"),
    ],
)
def test_nothing_found_exits_with_3_and_says_why(search: Search, given: list[str], told: str) -> None:
    ran = search("deploy", *given)
    assert (ran.code, ran.out) == (3, "")
    assert told in ran.err


@pytest.mark.usefixtures("reading")
def test_a_stop_keeps_what_is_done_and_answers(
    search: Search,
    world: World,
    words: Words,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_vectors, "policy", lambda: rules(batch_sessions=1))
    whole, calls = words.embed, iter(range(9))

    def stopped_at_the_third(texts: list[str], **options: Any) -> Any:
        if next(calls) == 2:  # the probe, then one session
            raise KeyboardInterrupt
        return whole(texts, **options)

    words.embed = stopped_at_the_third  # type: ignore[method-assign]
    ran = search("invoice", "--json")

    assert (ran.code, found(ran), ran.json["index"]["pending"]) == (0, ["s2"], 2)
    assert ran.err == "stopped: 2 sessions are left for the next search\n"
    assert len(found(search("invoice", "--json"))) == 3


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize(
    ("when", "told", "pending"),
    [(0, "what is new is left", None), (1, "1 sessions are left", 1)],
    ids=["while logs are read", "in the first batch"],
)
def test_a_stop_before_anything_is_embedded_counts_what_is_known(
    search: Search, world: World, words: Words, monkeypatch: pytest.MonkeyPatch, when: int, told: str, pending: int
) -> None:
    search("invoice")
    world.claude(user("docs", 5, "s3"), claude("m3", "r3", session="s3"), name="s3.jsonl")
    whole, stops = words.embed, iter([when == 0, when == 1, False, False])

    def stopped(texts: list[str], **options: Any) -> Any:
        if next(stops):
            raise KeyboardInterrupt
        return whole(texts, **options)

    monkeypatch.setattr(words, "embed", stopped)
    ran = search("invoice", "--json")

    assert (ran.code, len(found(ran)), ran.json["index"]["pending"]) == (0, 3, pending)
    assert ran.err == f"stopped: {told} for the next search\n"


@pytest.mark.usefixtures("reading", "words")
def test_where_nothing_can_be_written_what_is_embedded_answers(
    search: Search, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    search("invoice")
    world.claude(user("docs", 5, "s3"), claude("m3", "r3", session="s3"), name="s3.jsonl")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(vector_store, "_write", full)
    ran = search("invoice", "--json")

    assert (ran.code, len(found(ran)), ran.json["index"]["pending"]) == (0, 3, 1)
    assert ran.err == f"{folder_of(world.ledger)}: No space left on device; answering from what is embedded\n"


@pytest.mark.usefixtures("words")
def test_all_that_was_made_of_prompts_is_forgotten_at_a_word(
    search: Search, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PROMPTS", "STORE_PROMPTS"):
        monkeypatch.setenv(f"TOKENLEDGER_FEATURE_INFERENCE_{name}", "true")
    search("invoice")
    for name in ("session_activity.parquet", "session_activity.json", "token_estimates.parquet"):
        (world.ledger.lake / "inference" / name).write_bytes(b"x")
    before = {path for path in world.ledger.root.rglob("*") if path.is_file()}
    with writing(folder_of(world.ledger)):
        held = search("--forget")
    assert (held.code, held.out) == (4, "")
    assert "another process is embedding sessions" in held.err
    assert {path for path in world.ledger.root.rglob("*") if path.is_file()} == before

    ran = search("--forget")

    assert ran.code == 0
    assert [line.split(":")[0] for line in ran.out.splitlines()] == [
        "removed vectors of sessions",
        "removed the copy that searches read",
        "removed guessed activities",
        "removed estimated tokens",
        "removed what is remembered of prompts",
    ]
    assert ran.err.startswith("`inference.prompts` is on: the next search reads and embeds again")
    gone = {path.relative_to(world.ledger.root).parts[:2] for path in before if not path.exists()}
    assert gone == {("lake", "inference"), ("cache", "inference"), ("inference", "prompts")}
    assert all(path.name == ".lock" for path in folder_of(world.ledger).iterdir())
    assert list(world.ledger.prompts.iterdir()) == list(cache_folder(world.ledger).iterdir()) == []
    # inference may be off, and there may be nothing
    monkeypatch.setenv("TOKENLEDGER_FEATURE_INFERENCE", "false")
    again = search("--forget")
    assert (again.code, again.out, again.err) == (0, "nothing was made of what you typed\n", "")
    monkeypatch.undo()


@pytest.mark.usefixtures("reading", "words")
def test_while_another_process_embeds_it_answers_from_what_is_there(search: Search, world: World) -> None:
    search("invoice")
    world.claude(user("docs", 5, "s3"), claude("m3", "r3", session="s3"), name="s3.jsonl")
    with writing(folder_of(world.ledger)):
        ran = search("invoice", "--json")
    assert (ran.code, len(found(ran))) == (0, 3)
    assert ran.err == "another process is embedding sessions of this home; answering from what is embedded\n"


def test_progress_says_what_is_left_and_how_long_it_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = iter([0.0, 100.0, 102.0, 110.0, 170.0])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    shown = command._Progress()
    for done in (10, 11, 20, 90):
        shown(done, 100)
    shown.end()
    # the first commit waited for the model; then ten sessions took ten seconds
    assert capsys.readouterr().err.splitlines() == [
        "embedding sessions: 10 of 100, 90 left",
        "embedding sessions: 20 of 100, 80 left, about 1 min; Ctrl-C keeps what is done",
        "embedding sessions: 90 of 100, 10 left",
    ]


def test_help_has_examples(search: Search) -> None:
    shown = search("--help")
    assert shown.code == 0
    assert 'tokenledger search "flaky test in the parser"' in shown.out
    assert "exit codes:" in shown.out


def test_a_search_imports_neither_pandas_nor_dagster(world: World) -> None:
    script = (
        "import sys\nfrom tokenledger_dagster.cli.main import main\n"
        "assert main(['search', 'parser', '--read-prompts', '--json']) == 0\n"
        "heavy = {'pandas', 'dagster', 'duckdb', 'coremltools', 'onnx', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    environ = {**plain_environ(world.home_dir, world.ledger.root), "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["results"][0]["session_id"] == "s1"

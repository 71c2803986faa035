"""``tokenledger ledger``: what its actions print, write and exit with, and what they make of files that are none."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run
from tests.landing.rows import queued
from tests.models.small_ledger import small_build
from tests.support import World, jsonl, plain_environ
from tokenledger_dagster.cli.ledger import EXAMPLES
from tokenledger_dagster.cli.main import EXIT_CODES
from tokenledger_dagster.contracts.ledger import OBJECTIVES, PARETO, UNIFIED_LEDGER, ParetoRow
from tokenledger_dagster.models import artifacts
from tokenledger_dagster.models.artifacts import (
    COMMITTED,
    LEDGER_CSV,
    LEDGER_SEED,
    PARETO_CSV,
    PARETO_VIEW,
    PRIORS_CSV,
    write_build,
)

TWO, THREE = OBJECTIVES
ACTIONS = ("build", "refresh", "validate", "diff", "pareto", "map", "review", "frontier")
LEADERBOARD = """\
- {dirname: d1, model: dear, test_cases: 200, pass_rate_2: 80, pass_num_2: 160, total_cost: 20, seconds_per_case: 30}
- {dirname: d2, model: cheap, test_cases: 200, pass_rate_2: 60, pass_num_2: 120, total_cost: 1, seconds_per_case: 30}
- {dirname: d3, model: beaten, test_cases: 200, pass_rate_2: 55, pass_num_2: 110, total_cost: 30, seconds_per_case: 40}
- {dirname: d4, model: free, test_cases: 200, pass_rate_2: 90, pass_num_2: 180, total_cost: 0, seconds_per_case: 1}
"""


_built = cache(artifacts.committed_build)


@pytest.fixture(autouse=True)
def build_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed build is the same every time, says ``tests/models/test_artifacts.py``: one is enough."""
    monkeypatch.setattr(artifacts, "committed_build", _built)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the committed files, to break."""
    found = tmp_path / "copy"
    shutil.copytree(COMMITTED, found)
    return found


@pytest.fixture
def leaderboard(tmp_path: Path) -> str:
    path = tmp_path / "polyglot_leaderboard.yml"
    path.write_text(LEADERBOARD, encoding="utf-8")
    return str(path)


def parsed(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def assert_one_line(found: Ran, *words: str, code: int = 4) -> None:
    """An error as a person is to see it."""
    assert found.code == code, found.err
    assert found.out == ""
    (line,) = found.err.strip().splitlines()
    assert line.startswith("tokenledger ledger: ")
    for word in words:
        assert word in line


# ------------------------------------------------------------------ help


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_explains_itself_with_examples_and_exit_codes(run: Run, action: str) -> None:
    shown = run("ledger", action, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert f"usage: tokenledger ledger {action}" in shown.out
    assert f"\nexamples:\n  tokenledger ledger {action}" in shown.out
    assert shown.out.rstrip().endswith(EXIT_CODES)
    assert f"\n  tokenledger ledger {action}" in run("ledger", "--help").out


def test_an_action_has_to_be_named_and_known(run: Run) -> None:
    assert run("ledger").code == 2
    assert run("ledger", "invent").code == 2
    shown = run("ledger", "--help").out
    assert all(re.search(rf"^    {action} ", shown, re.MULTILINE) for action in ACTIONS)
    assert "exit codes:" in shown


def test_the_examples_of_the_help_are_commands_it_knows(run: Run) -> None:
    lines = re.findall(r"^  tokenledger (ledger [^#\n]+)", EXAMPLES["ledger"], re.MULTILINE)
    assert len(lines) >= len(ACTIONS)
    for line in lines:
        # with --help behind it, a command says whether it knows everything before it
        assert run(*line.split(), "--help").code == 0


def test_neither_dagster_nor_pandas_is_imported(world: World) -> None:
    code = (
        "import sys; from tokenledger_dagster.cli.main import main; code = main(['ledger', 'pareto', '--committed']);"
        "bad = {'dagster', 'pandas', 'pyarrow'} & set(sys.modules); sys.exit(f'{code} {bad}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plain_environ(world.home_dir, world.ledger.root),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "0 set()"


# ------------------------------------------------------------------ build, diff, validate


def test_build_writes_the_committed_files_once(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "new"
    found = run("ledger", "build", "--output", str(target))
    assert (found.code, found.err) == (0, "")
    assert f"{target}: wrote models_normalized.csv, " in found.out
    assert (target / LEDGER_CSV).read_bytes() == (COMMITTED / LEDGER_CSV).read_bytes()

    again = run("ledger", "build", "--output", str(target), "--format", "json").json
    assert again.pop("generated_at").endswith("Z")
    assert again["written"] == []
    assert (again["schema_version"], again["folder"]) == (1, str(target))
    assert again["counts"] == _built().counts


def test_build_into_a_file_is_refused(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    assert_one_line(run("ledger", "build", "--output", str(path)), str(path), "is a file; name a folder", code=2)
    assert_one_line(run("ledger", "build", "--output", str(path / "below")), str(path))
    assert path.read_text() == "mine"


def test_diff_is_quiet_where_nothing_differs(run: Run, folder: Path) -> None:
    found = run("ledger", "diff", "--folder", str(folder))
    assert (found.code, found.out, found.err) == (0, f"{folder}: is what config/ gives\n", "")
    assert run("ledger", "diff", "--folder", str(folder), "--format", "json").json["differences"] == {}


def test_diff_names_what_differs_and_fails(run: Run, folder: Path) -> None:
    (folder / PARETO_VIEW).unlink()
    text = (folder / LEDGER_CSV).read_text("utf-8")
    (folder / LEDGER_CSV).write_text(text.replace("Claude Opus 5.5,", "Claude Opus V.5,", 1), "utf-8")

    found = run("ledger", "diff", "--folder", str(folder))
    assert found.code == 1
    assert f"{folder / PARETO_VIEW}\n  is missing\n" in found.out
    assert "Claude Opus V.5" in found.out
    assert "2 files are not what config/ gives; `tokenledger ledger build` makes them" in found.err
    document = run("ledger", "diff", "--folder", str(folder), "--format", "json")
    assert document.code == 1
    assert document.json["differences"].keys() == {LEDGER_CSV, PARETO_VIEW}


def test_validate_counts_what_both_engines_load(run: Run, tmp_path: Path) -> None:
    write_build(small_build(), tmp_path / "small")
    found = run("ledger", "validate", "--folder", str(tmp_path / "small"), "--format", "json")
    assert (found.code, found.err) == (0, "")
    assert found.json["counts"] == {
        "model_benchmark_values": 42,
        "unified_model_provider_ledger": 9,
        "unified_model_provider_pareto": 18,
    }


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        (LEDGER_CSV, None, "No such file or directory"),
        (LEDGER_CSV, b"", "has other columns than this version's"),
        (LEDGER_CSV, b"\xff\xfe", "is no UTF-8"),
        (LEDGER_CSV, b"\x00", "holds a NUL character"),
        (LEDGER_CSV, b"\xef\xbb\xbf" + ",".join(UNIFIED_LEDGER.column_names).encode() + b"\r\n", "has other columns"),
        (LEDGER_CSV, ",".join(UNIFIED_LEDGER.column_names[1:]).encode() + b"\n", "has other columns"),
        (LEDGER_SEED, b"", "loads 0 rows of unified_model_provider_ledger"),
        (LEDGER_SEED, b"\xff", "is no UTF-8"),
        (LEDGER_SEED, b"SELECT 1 FROM nowhere;", "SQLite cannot load it"),
        (LEDGER_SEED, b"SELECT '\x00';", "holds a NUL character"),
        (LEDGER_SEED, b"ATTACH '/tmp/x.db' AS e;", "means to attach a file"),
        (LEDGER_SEED, b'SELECT * FROM "\x1b[31m\n\n";', "SQLite cannot load it"),
        (PARETO_VIEW, b"not SQL at all", "SQLite cannot load it"),
        (PARETO_CSV, b"objectives\n", "has other columns"),
        (PARETO_CSV, ",".join(PARETO.column_names).encode() + b"\nx\n", "line 2: has 1 cells in place of 29"),
        (PARETO_CSV, b"x" * 200_000 + b"\n", "is no CSV file"),
        (PRIORS_CSV, None, "No such file or directory"),
    ],
)
def test_validate_tells_of_a_damaged_file_in_one_line(
    run: Run, tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    folder = tmp_path / "small"
    write_build(small_build(), folder)
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    assert_one_line(run("ledger", "validate", "--folder", str(folder)), str(folder), problem, "run `tokenledger ledger")


def test_validate_of_two_folders_none_and_a_file(run: Run, tmp_path: Path, leaderboard: str) -> None:
    assert_one_line(run("ledger", "validate", "--folder", "x", "--home"), "give one of them", code=2)
    assert_one_line(run("ledger", "validate", "--folder", str(tmp_path / "absent")), "absent", "No such file")
    assert_one_line(run("ledger", "validate", "--folder", leaderboard), "Not a directory")
    assert_one_line(run("ledger", "validate", "--home"), "No such file", "; run `tokenledger ledger refresh`")


# ------------------------------------------------------------------ refresh


def test_refresh_without_records_says_what_to_do(run: Run, world: World) -> None:
    assert_one_line(run("ledger", "refresh", "--no-sync"), str(world.ledger.root), "--allow-missing-snapshot", code=3)
    assert_one_line(run("ledger", "refresh", "--no-sync", "--skip-runtime-discovery"), "no records", code=3)


def test_refresh_makes_the_ledger_of_the_home(run: Run, world: World) -> None:
    arguments = ("ledger", "refresh", "--allow-missing-snapshot")
    found = run(*arguments)
    assert found.code == 0
    assert found.out.endswith(f"{world.ledger.ledger}: made\n")
    assert run(*arguments).out.endswith(f"{world.ledger.ledger}: nothing changed\n")
    again = run(*arguments, "--format", "json")
    assert again.json["is_new"] is False
    assert again.json["counts"]["runtime_records"] == 0
    # acme-coder-9 is used beside what the table and its bare models have
    assert again.json["counts"]["ledger_rows"] == _built().counts["ledger_rows"] + 1
    with (world.ledger.ledger / LEDGER_CSV).open(encoding="utf-8", newline="") as handle:
        used = {
            row["source_model"]: row["pricing_note"] for row in csv.DictReader(handle) if row["is_in_use"] == "true"
        }
    assert used.keys() == {"Claude Sonnet 4.5", "GPT-5.4", "claude/acme-coder-9"}
    assert used["claude/acme-coder-9"] == "the name does not say for certain which model it is"
    shown = run("ledger", "validate", "--home")
    assert (shown.code, shown.err) == (0, "")
    assert "model_benchmark_values         3,280" in shown.out


def test_refresh_reads_the_named_snapshot(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "queue.jsonl"
    path.write_bytes(jsonl(queued("r1", model="gpt-5.4"), queued("r2", 1, model="gpt-5.4", failed=True), "{"))
    arguments = ("ledger", "refresh", "--cliproxyapi-snapshot", str(path))
    found = run(*arguments, "--format", "json")
    assert (found.code, found.json["is_new"]) == (0, True)
    counts = {name: count for name, count in found.json["counts"].items() if name.startswith("runtime_")}
    assert counts == {"runtime_rows": 1, "runtime_records": 2, "runtime_failures": 1, "runtime_skipped": 1}
    assert run(*arguments).out.endswith("nothing changed\n")


def test_a_snapshot_that_cannot_be_used_is_one_line_even_where_none_is_wanted(run: Run, tmp_path: Path) -> None:
    cases = [
        ("metrics.csv", b"", "has no column model, provider"),
        ("metrics.csv", b"\x00", "has no column model, provider"),
        ("metrics.csv", b"provider,requests\ncodex,1\n", "has no column model"),
        ("metrics.csv", b"provider,model\ncodex,gpt\xff\n", "is no CSV file"),
        ("metrics.csv", b"\xef\xbb\xbfprovider,model,requests\r\ncodex,gpt-5.4,many\r\n", "line 2: requests: 'many'"),
        ("metrics.csv", b"provider,model,requests\ncodex,gpt-5.4,-4\n", "cannot be meant; write 0 to"),
        ("metrics.csv", b"provider,model,requests\ncodex,gpt-5.4,1.9\n", "line 2: requests: '1.9' is no whole number"),
        ("metrics.csv", b"provider,model,quality_score\ncodex,gpt-5.4,5000\n", "quality_score: '5000' cannot be meant"),
        ("metrics.csv", b"provider,model,quality_score\ncodex,gpt-5.4,10000000000\n", "line 2: quality_score"),
        ("queue.jsonl.gz", b"\x1f\x8b\x08\x00cut", "name an export or a landed file"),
        ("absent.json", None, "No such file or directory"),
        ("absent.csv", None, "No such file or directory; name a snapshot"),
    ]
    for name, content, problem in cases:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        arguments = ("--cliproxyapi-snapshot", str(path), "--allow-missing-snapshot", "--no-sync")
        assert_one_line(run("ledger", "refresh", *arguments), str(path), problem)


def test_a_snapshot_with_nothing_of_the_proxy_is_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "queue.jsonl"
    for content in (b"", b"\x00\x00", b"\xff\xfe\xff", b"\xef\xbb\xbf\r\n", b"no json\n", b"[[[[", b"{}"):
        path.write_bytes(content)
        found = run("ledger", "refresh", "--cliproxyapi-snapshot", str(path), "--no-sync")
        assert_one_line(found, str(path), "holds no requests of CLIProxyAPI; name an export")


# ------------------------------------------------------------------ pareto


def test_pareto_shows_the_frontier_with_its_scale(run: Run) -> None:
    found = run("ledger", "pareto", "--committed")
    assert (found.code, found.err) == (0, "")
    assert f"{TWO}: 5 of 10 eligible models are beaten by none\n" in found.out
    assert f"{THREE}: 9 of 15 eligible models are beaten by none\n" in found.out
    assert "quality      SWE-Bench Pro | Public set, Scale leaderboard\n" in found.out
    assert "usage mix    input 5.0 %, cache_write 5.0 %, cache_read 88.0 %, output 2.0 %\n" in found.out
    assert "weights      quality 0.6, cost 0.4\n" in found.out
    assert "bounds       quality 0 to 100, cost 100 to 0.01\n" in found.out
    assert re.search(r"^GPT-5\.4 +1 +59\.1 +0\.77 +- +56\.6 +1 +", found.out, re.MULTILINE)
    assert "Claude Opus 4.5" not in found.out


def test_pareto_of_one_set_and_of_all_models(run: Run) -> None:
    few = run("ledger", "pareto", "--committed", "--objectives", TWO)
    assert THREE not in few.out
    every = run("ledger", "pareto", "--committed", "--objectives", TWO, "--all").out
    assert re.search(r"^Claude Opus 4\.5 +3 .* GPT-5\.4$", every, re.MULTILINE)
    assert re.search(r"^o3 +- .*missing: quality$", every, re.MULTILINE)
    assert run("ledger", "pareto", "--objectives", "speed").code == 2


def test_pareto_as_json_states_everything_it_depends_on_and_is_stable(run: Run) -> None:
    first, again = (run("ledger", "pareto", "--committed", "--format", "json").out for _ in range(2))
    stamp = re.compile(r'"generated_at": ?"[^"]+"')
    assert stamp.sub("", first) == stamp.sub("", again)
    document = run("ledger", "pareto", "--committed", "--format", "json").json
    assert list(document) == ["schema_version", "generated_at", "usage_mix", "weights", "bounds", "rows"]
    assert document["schema_version"] == 1
    assert list(document["weights"]) == list(OBJECTIVES)
    assert [list(row) for row in document["rows"]] == [list(ParetoRow.__struct_fields__)] * 14
    assert all(row["is_frontier"] for row in document["rows"])
    assert (
        len(run("ledger", "pareto", "--committed", "--all", "--json").json["rows"])
        == 2 * _built().counts["ledger_rows"]
    )


def test_pareto_as_csv_and_markdown(run: Run) -> None:
    rows = parsed(run("ledger", "pareto", "--committed", "--objectives", TWO, "--format", "csv").out)
    assert {row["source_model"]: (row["is_frontier"], row["front_rank"], row["quality"]) for row in rows} == {
        "Claude Haiku 4.5": ("true", "1", "39.45"),
        "GPT-5.2 Codex": ("true", "1", "41.04"),
        "GPT-5.4": ("true", "1", "59.1"),
        "Gemini 3.1 Pro": ("true", "1", "46.1"),
        "MiniMax M2.1": ("true", "1", "36.81"),
    }
    markdown = run("ledger", "pareto", "--committed", "--objectives", TWO, "--format", "markdown").out
    assert "| Model | Rank | Quality % |" in markdown


def test_pareto_of_the_home_uses_its_own_mix(run: Run) -> None:
    run("sync")
    found = run("ledger", "pareto")
    assert found.code == 0
    assert "usage mix    input 5.0 %" not in found.out
    assert f"{THREE}: 0 of 0 eligible models are beaten by none\n" in found.out


def test_pareto_of_an_empty_home_says_what_to_do(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_HOME", str(tmp_path / "nowhere"))
    assert_one_line(run("ledger", "pareto"), "nowhere", "tokenledger sync", "--committed", code=3)


# ------------------------------------------------------------------ map


def test_map_writes_one_row_a_name_and_counts_them(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    source.write_bytes(b"\xef\xbb\xbfsource_name,context_provider\r\nGPT-5 (high),\r\nkimi-k9,\r\nacme-coder-9,\r\n")
    found = run("ledger", "map", "--input", str(source), "--output", "-")
    assert found.code == 0
    assert [(row["maker"], row["canonical_model"], row["modifiers"]) for row in parsed(found.out)] == [
        ("openai", "gpt-5", "effort=high"),
        ("moonshotai", "", ""),
        ("", "", ""),
    ]
    assert found.err == "3 names: 1 mapped, 1 with a maker only, 1 unknown\n"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory; name a readable CSV file"),
        (b"", "has no column source_name; name the column"),
        (b"model\ngpt-5\n", "has no column source_name"),
        (b"\x00\x00\n", "has no column source_name"),
        (b"source_name\ngpt\xff\n", "is no UTF-8; save the file as UTF-8"),
        (b"source_name\n" + b"x" * 200_000 + b"\n", "line 2"),
    ],
)
def test_map_of_a_file_that_is_none_is_one_line(run: Run, tmp_path: Path, content: bytes | None, problem: str) -> None:
    source, target = tmp_path / "names.csv", tmp_path / "mapped.csv"
    if content is not None:
        source.write_bytes(content)
    assert_one_line(run("ledger", "map", "--input", str(source), "--output", str(target)), str(source), problem)
    assert not target.exists()


def test_map_keeps_a_nul_inside_a_name_from_harm(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "names.csv"
    source.write_bytes(b"source_name\ngpt\x00-5\n")
    assert run("ledger", "map", "--input", str(source), "--output", "-").code in (0, 4)


# ------------------------------------------------------------------ frontier


def test_frontier_shows_who_is_beaten_by_none(run: Run, leaderboard: str) -> None:
    found = run("ledger", "frontier", leaderboard)
    assert (found.code, found.err) == (0, "")
    head, _, _, *lines = found.out.splitlines()
    assert head == "2 of 3 eligible runs are beaten by none; 1 lack cost or latency"
    assert [line.split()[:5] for line in lines] == [
        ["dear", "1", "80", "0.1", "30"],
        ["cheap", "1", "60", "0.005", "30"],
    ]


def test_frontier_of_all_runs_names_who_beats_them_or_what_they_lack(run: Run, leaderboard: str) -> None:
    rows = parsed(run("ledger", "frontier", leaderboard, "--all", "--format", "csv").out)
    assert [(row["run_id"], row["front_rank"], row["dominated_by_example"], row["eligibility"]) for row in rows] == [
        ("d1", "1", "", "eligible"),
        ("d2", "1", "", "eligible"),
        ("d3", "2", "dear", "eligible"),
        ("d4", "", "", "missing: cost"),
    ]
    assert "lacks cost" in run("ledger", "frontier", leaderboard, "--all").out


def test_a_cost_too_small_to_show_is_not_shown_as_none(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "board.yml"
    path.write_text(
        "- {model: m, test_cases: 1000000, pass_num_2: 1, pass_rate_2: 0.0001, total_cost: 9, seconds_per_case: 1}\n"
    )
    assert run("ledger", "frontier", str(path)).out.splitlines()[-1].split()[:5] == ["m", "1", "0.0001", "<0.0001", "1"]


def test_frontier_as_json_is_stable(run: Run, leaderboard: str) -> None:
    documents = [run("ledger", "frontier", leaderboard, "--format", "json").json for _ in range(2)]
    for document in documents:
        assert document.pop("generated_at").endswith("Z")
    assert documents[0] == documents[1]
    rows = documents[0].pop("rows")
    assert documents[0] == {"schema_version": 1, "leaderboard": leaderboard, "runs": 4, "eligible": 3, "frontier": 2}
    assert list(rows[0]) == [
        *("run_id", "model", "date", "test_cases", "pass_rate_2", "cost_per_case_usd", "seconds_per_case"),
        *("eligibility", "is_frontier", "front_rank", "n_dominated_by", "dominated_by_example", "frontier_probability"),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "holds no list of runs"),
        (b"\x00", "is no YAML file"),
        (b"- model: \xff\n", "is no YAML file"),
        (b"\xef\xbb\xbf\r\n", "holds no list of runs"),
        (b"- {model: m}\n", "entry 1: needs test_cases (1 to"),
        (b"- {model: m, test_cases: 5, pass_rate_2: much}\n", "entry 1: pass_rate_2 is no number"),
        (b"- {model: m, test_cases: 1e999999999, pass_rate_2: 5}\n", "entry 1: test_cases is no measure"),
        (b"- {model: m, test_cases: 5, pass_rate_2: 5, pass_num_2: 1e999999999}\n", "pass_num_2 is no measure"),
        (b"- {model: m, test_cases: 5, pass_rate_2: 5, total_cost: 1e30}\n", "entry 1: total_cost is no measure"),
    ],
)
def test_frontier_of_a_file_that_is_none_is_one_line(
    run: Run, tmp_path: Path, content: bytes | None, problem: str
) -> None:
    path = tmp_path / "board.yml"
    if content is not None:
        path.write_bytes(content)
    assert_one_line(run("ledger", "frontier", str(path)), str(path), problem)


def test_frontier_of_a_folder_is_one_line(run: Run, tmp_path: Path) -> None:
    assert_one_line(run("ledger", "frontier", str(tmp_path)), "Is a directory")


def test_control_characters_of_a_file_do_not_reach_the_terminal(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "board.yml"
    path.write_text('- {model: "\\e[31mred", test_cases: 5, pass_rate_2: 1, total_cost: 1, seconds_per_case: 1}\n')
    for form in ("table", "csv", "markdown"):
        found = run("ledger", "frontier", str(path), "--format", form)
        assert found.code == 0
        assert "\x1b" not in found.out

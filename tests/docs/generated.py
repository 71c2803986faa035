"""The parts of the documentation that follow from the code: option tables, settings, columns, kept measurements.

Here: what stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``.  Run as a program it writes them into the
pages; ``test_generated.py`` compares.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tokenledger_dagster import settings_defaults
from tokenledger_dagster.bench.results import read_result
from tokenledger_dagster.cli.main import COMMANDS
from tokenledger_dagster.clients.pack import Columns
from tokenledger_dagster.contracts import record_table, tables
from tokenledger_dagster.contracts.bench import BenchResult, ClientsResult, ProfileResult
from tokenledger_dagster.contracts.record import Counters, UsageRecord
from tokenledger_dagster.settings import DEFAULT_CONFIG, read_yaml

ROOT = Path(__file__).resolve().parents[2]
DEFAULTS_MODULE = Path(settings_defaults.__file__)
_BLOCK = re.compile(r"<!-- generated: ([a-z-]+) -->\n(.*?)<!-- end -->", re.DOTALL)


def commands() -> str:
    """A section with an option table for every command."""
    return "\n".join(_command(name) for name in COMMANDS)


def _command(name: str) -> str:
    module_name, about = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"tokenledger {name}", add_help=False)
    importlib.import_module(f"tokenledger_dagster.cli.{module_name}").add_arguments(parser)
    head = [f"## {name}", "", f"{about[0].upper()}{about[1:]}.", ""]
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        return "\n".join([*head, *_arguments(parser), ""])
    for action, one in groups[0].choices.items():
        head += [f"### {name} {action}", "", one.description or "", "", *_arguments(one), ""]
    return "\n".join(head)


def _arguments(parser: argparse.ArgumentParser) -> list[str]:
    shown = [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != "help"]
    rows = [_option(action) for action in shown]
    return ["| argument | meaning |", "|---|---|", *rows] if rows else ["No options."]


def _option(action: argparse.Action) -> str:
    value = _value(action)
    if action.option_strings:
        shown = f"{', '.join(action.option_strings)} {value}".strip()
    else:
        shown = f"[{value}]" if action.nargs == "?" else value
    shown = shown.replace("|", "\\|")
    text = (action.help or "").replace("|", "\\|")
    return f"| `{shown}` | {text} |"


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return "|".join(map(str, action.choices))
    metavar = action.metavar if isinstance(action.metavar, str) else None
    return metavar or action.dest.upper()


def settings() -> str:
    """Every setting with its variable, default and comment in ``config/default.yaml``."""
    rows = ["| setting | variable | default | meaning |", "|---|---|---|---|"]
    comment, prefix, name_prefix = "", "TOKENLEDGER_", ""
    for line in DEFAULT_CONFIG.read_text("utf-8").splitlines():
        text = line.strip()
        if text.startswith("#"):
            comment = f"{comment} {text.lstrip('# ')}".strip()
            continue
        if not text:
            comment = ""
            continue
        name, _, value = text.partition(":")
        if name == "features":
            prefix, name_prefix, comment = "TOKENLEDGER_FEATURE_", "features: ", ""
            continue
        variable = prefix + name.replace(".", "_").upper()
        meaning = re.sub(r" \(TOKENLEDGER_[A-Z_]+(, \.\.\.)?\)$", "", comment).replace("|", "\\|")
        rows.append(f"| `{name_prefix}{name}` | `{variable}` | `{value.strip()}` | {meaning} |")
    return "\n".join(rows) + "\n"


def journal_record() -> str:
    """Positions of the array that is a journal's record."""
    return _positions(UsageRecord)


def pack_columns() -> str:
    """Positions of the array that is a pack."""
    return _positions(Columns)


def counters() -> str:
    """Positions of the array that is a record's counters."""
    return _positions(Counters)


def _positions(struct: type[msgspec.Struct]) -> str:
    names = [field.name for field in msgspec.structs.fields(struct)]
    listed = ", ".join(f"{place} `{name}`" for place, name in enumerate(names))
    return textwrap.fill(f"{listed}.", 120) + "\n"


def lake_columns() -> str:
    """Columns of a Parquet segment."""
    rows = [f"| `{field.name}` | {field.type} | {'yes' if field.nullable else ''} |" for field in _lake_fields()]
    return "\n".join(["| column | Arrow type | null |", "|---|---|---|", *rows]) + "\n"


def _lake_fields() -> list[Any]:
    return list(record_table.arrow_schema())


def all_tables() -> str:
    """Every public table."""
    return "\n".join(tables.markdown(table) for table in tables.TABLES.values())


def growth() -> str:
    """The kept growth run as a table, with the machine it was measured on."""
    result = read_result(ROOT / "docs" / "performance" / "growth.json")
    rows = [
        "| logs | files | step | wall, median | wall, p95 | processor | new MB/s | new events/s | memory | figures |",
        "|---:|---:|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for scenario in result.scenarios:
        for step in scenario.steps:
            median = step.median
            cells = [
                f"{scenario.corpus.bytes / 1e6:,.0f} MB",
                f"{scenario.corpus.files:,}",
                step.name,
                f"{median.wall_s:.3f} s",
                f"{median.wall_p95_s:.3f} s",
                f"{median.cpu_s:.3f} s",
                f"{median.mb_per_s:,.1f}" if median.mb_per_s else "",
                f"{median.events_per_s:,.0f}" if median.events_per_s else "",
                f"{step.memory.peak_bytes / 1e6:,.0f} MB" if step.memory else "",
                "exact" if step.correctness.passed else "WRONG",
            ]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join([_measured(result), "", *rows]) + "\n"


def profile() -> str:
    """The kept profile as a table."""
    result = msgspec.json.decode((ROOT / "docs" / "performance" / "profile.json").read_bytes(), type=ProfileResult)
    rows = [f"| {one.name} | {one.cpu_s:.3f} s | {one.share:.0%} |" for one in result.stages]
    size = f"{result.corpus.bytes / 1e6:,.0f} MB, {result.corpus.files:,} files, {result.corpus.events:,} events"
    spent = f"In all {result.total_cpu_s:.3f} s of processor time; the limit is {result.limit_cpu_s:.3f} s."
    head = [_measured(result), "", "| stage | processor time | share |", "|---|---:|---:|"]
    return "\n".join([*head, *rows, "", f"{size}. {spent}"]) + "\n"


def client_speeds() -> str:
    """The kept speeds of all clients as a table."""
    result = msgspec.json.decode((ROOT / "docs" / "performance" / "clients.json").read_bytes(), type=ClientsResult)
    rows = [
        f"| `{one.client}` | {one.bytes / 1e6:,.1f} MB | {one.files:,} | {one.records:,} | {one.cold_s:.2f} s "
        f"| {one.mb_per_s:,.1f} | {one.records_per_s:,.0f} | {one.tail_s:.2f} s |"
        for one in result.clients
    ]
    head = [
        "| client | logs | files | records | cold | MB/s | records/s | 1 % more |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([_measured(result), "", *head, *rows]) + "\n"


def embedding_speeds() -> str:
    """The kept speeds of the backends of inference as a table, texts a second."""
    result = json.loads((ROOT / "docs" / "performance" / "inference.json").read_bytes())
    machine, versions = result["machine"], result["versions"]
    place = f"{machine['cpu_model']}, {machine['cores']} cores, {machine['python']}"
    runtimes = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    backends = [one["backend"] for one in result["loading"]]
    speed = {(one["backend"], one["tokens"], one["rows"]): one["median"] for one in result["rates"]}
    sizes = sorted({size[1:] for size in speed})
    rows = [
        f"| {tokens} | {texts} | " + " | ".join(f"{speed[name, tokens, texts]:.3g}" for name in backends) + " |"
        for tokens, texts in sizes
    ]
    whole = {one["backend"]: one for one in result["whole_texts"]}
    loading = [
        f"`{one['backend']}` was ready in {sorted(one['seconds'])[len(one['seconds']) // 2]:.2f} s, all checks of the "
        f"load among them, and embedded {whole[one['backend']]['texts']} texts of {whole[one['backend']]['tokens']:,} "
        f"tokens in all at {whole[one['backend']]['median']:.3g} texts/s."
        for one in result["loading"]
    ]
    head = [
        f"Measured {result['generated_at'][:10]} on {place}, TokenLedger {versions['tokenledger']} "
        f"({versions['commit']}), {runtimes}; {result['threads']} thread, median of {result['rounds']} rounds.",
        "",
        f"| tokens of a text | texts in a batch | {' | '.join(f'`{name}`, texts/s' for name in backends)} |",
        "|---:|---:|" + "---:|" * len(backends),
    ]
    return "\n".join([*head, *rows, "", *loading]) + "\n"


def search_speeds() -> str:
    """The kept times of search over many sessions as a table."""
    result = json.loads((ROOT / "docs" / "performance" / "search.json").read_bytes())
    machine, versions = result["machine"], result["versions"]
    place = f"{machine['cpu_model']}, {machine['cores']} cores, {machine['python']}"
    second = {**result["second_query"], "name": "second question in the process, with cost"}
    rows = [
        f"| {one['name']} | {one['median_ms']:,.0f} ms | {one['p95_ms']:,.0f} ms |"
        for one in (second, *result["times"], *result["cli"])
    ]
    return "\n".join(
        [
            f"Measured {result['generated_at'][:10]} on {place}, TokenLedger {versions['tokenledger']} "
            f"({versions['commit']}): {result['sessions']:,} sessions with {result['vectors']:,} vectors in "
            f"{result['vector_files']} files of {result['vector_bytes'] / 1e6:,.0f} MB, "
            f"the matrix {result['cache_bytes'] / 1e6:,.0f} MB.",
            "",
            "| | median | 95th percentile |",
            "|---|---:|---:|",
            f"| first question in a process: model and matrix loaded | {result['first_query_ms']:,.0f} ms | |",
            *rows,
            "",
            f"The command took {result['cli_peak_mib']:,.0f} MiB of memory at its peak, "
            f"{result['cli_peak_without_sessions_mib']:,.0f} MiB in a home of one session. All vectors were written in "
            f"{result['store_s']:,.0f} s, and read into a new matrix in {result['matrix_s']:.1f} s.",
        ]
    )


def _measured(result: BenchResult | ProfileResult | ClientsResult) -> str:
    machine, versions = result.machine, result.versions
    place = f"{machine.cpu_model}, {machine.cores} cores, {machine.python}"
    return f"Measured {result.generated_at[:10]} on {place}, TokenLedger {versions.tokenledger} ({versions.commit})."


def defaults() -> str:
    """The module of defaults, with the figures of ``config/default.yaml``."""
    values = read_yaml(DEFAULT_CONFIG)
    features = values.pop("features")
    lines = [f'DIGEST = "{settings_defaults.digest(DEFAULT_CONFIG.read_bytes())}"']
    for name, found in (("DEFAULTS", values), ("FEATURES", features)):
        lines += [
            f"{name}: dict[str, object] = {{",
            *(f"    {json.dumps(key)}: {_literal(found[key])}," for key in found),
            "}",
        ]
    lines.append(f"SNAPSHOT_TOP_N = {values['snapshot_top_n']}")
    text = DEFAULTS_MODULE.read_text("utf-8")
    begin, end = "# generated: begin\n", "# generated: end\n"
    return text.partition(begin)[0] + begin + "\n".join(lines) + "\n" + end + text.partition(end)[2]


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


SECTIONS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "journal-record": journal_record,
    "pack-columns": pack_columns,
    "counters": counters,
    "lake-columns": lake_columns,
    "tables": all_tables,
    "growth": growth,
    "profile": profile,
    "client-speeds": client_speeds,
    "embedding-speeds": embedding_speeds,
    "search-speeds": search_speeds,
}


def pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])


def blocks(page: Path, info: str) -> list[str]:
    """Code blocks of a page that are opened with ``info``."""
    return re.findall(rf"^```{info}\n(.*?)^```$", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def found(page: Path) -> dict[str, str]:
    """Generated sections of a page as they stand."""
    return dict(_BLOCK.findall(page.read_text("utf-8")))


def current(text: str) -> str:
    """``text`` with its generated sections as they should be."""

    def section(match: re.Match[str]) -> str:
        return f"<!-- generated: {match[1]} -->\n\n{SECTIONS[match[1]]().strip()}\n\n<!-- end -->"

    return _BLOCK.sub(section, text)


if __name__ == "__main__":
    if (written := defaults()) != DEFAULTS_MODULE.read_text("utf-8"):
        DEFAULTS_MODULE.write_text(written, encoding="utf-8", newline="\n")
        print(f"wrote {DEFAULTS_MODULE.relative_to(ROOT)}")
    for one in pages():
        before = one.read_text("utf-8")
        if (after := current(before)) != before:
            one.write_text(after, encoding="utf-8", newline="\n")
            print(f"wrote {one.relative_to(ROOT)}")

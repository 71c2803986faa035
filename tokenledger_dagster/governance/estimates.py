"""What must hold of the embedding model and of the estimates made with it; of nothing that is counted or priced.

Here: these as findings, decided from the files alone, by SQL or by other means than those that made them. Not here: how
estimates are made (`tokenledger_dagster.inference`). Where something was never made there is nothing to decide, and the
finding says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.exports.engine import literal
from tokenledger_dagster.governance.outcome import Finding, Inspection
from tokenledger_dagster.governance.sqlfiles import statement
from tokenledger_dagster.inference.switch import model_folder
from tokenledger_dagster.inference.vector_files import folder_of, live_files
from tokenledger_dagster.models.rules import catalog

_AGAIN = "and run `tokenledger orchestrate --job inference`"


def model_files_intact(look: Inspection) -> Finding:
    """Whether every file of the built model has the hash that its manifest tells."""
    from tokenledger_dagster.inference.manifest import check_files, read_manifest

    folder = model_folder(look.home)
    if not folder.manifest.exists():
        return _nothing("No model is built; `tokenledger models build` builds one.")
    try:
        files = check_files(folder, read_manifest(folder))
    except TokenLedgerError as error:  # a manifest that tells nothing
        return Finding(passed=False, message=str(error), actual=0, expected=1)
    rows = [{"file": one.path, "state": one.state, "problem": one.problem} for one in files if one.state != "ok"]
    whole = f"All {len(files)} files of the model are what its manifest says."
    harm = "texts would be embedded by another model than recorded. Run `tokenledger models build`."
    return _judged(rows, whole, lambda row: f"{row['problem']}: {harm}")


def model_files_state(look: Inspection) -> str:
    """Stands for the model's files without reading them."""
    root = model_folder(look.home).root
    return _stand_for(sorted(path for path in root.rglob("*") if path.is_file()))


def vectors_are_whole(look: Inspection) -> Finding:
    """Whether every session has all its parts, each of length 1, and no backend stood in silently."""
    from tokenledger_dagster.inference.policy import policy

    files = live_files(folder_of(look.home))
    if not files:
        return _nothing("No session is embedded.")
    paths = "[" + ", ".join(literal(one.path) for one in files) + "]"
    tolerance = policy().answers.norm_tolerance
    lengths = {"shortest": (1 - tolerance) ** 2, "longest": (1 + tolerance) ** 2}
    harm = f"searches would compare what cannot be compared. Delete {folder_of(look.home)} {_AGAIN}."
    return _judged(
        _rows(look, statement("session_vector_problems", files=paths), lengths),
        "Every session has all its parts, each of length 1 and by whom it says.",
        lambda row: f"{_named(row)} {row['problem']}: {harm}",
    )


def vectors_state(look: Inspection) -> str:
    """Stands for the vectors."""
    return _stand_for(one.path for one in live_files(folder_of(look.home)))


def guesses_keep_their_limits(look: Inspection) -> Finding:
    """Whether every guessed activity is a known class, above both thresholds, and marked as an estimate."""
    from tokenledger_dagster.inference.activity import ACTIVITIES, rules
    from tokenledger_dagster.inference.session_activity import table_path

    path = table_path(look.home)
    if not path.exists():
        return _nothing("No activity was guessed.")
    limits = {"classes": list(ACTIVITIES), "min_score": rules().min_score, "min_margin": rules().min_margin}
    harm = f"a guess would pass for more than it is. Delete {path} {_AGAIN}."
    return _judged(
        _rows(look, statement("session_activity_problems", table=literal(path)), limits),
        "Every guessed activity is a known class and above both thresholds.",
        lambda row: f"{_named(row)} {row['problem']}: {harm}",
    )


def guesses_state(look: Inspection) -> str:
    """Stands for the guesses and the rules that they are held against."""
    from tokenledger_dagster.inference.activity import rules
    from tokenledger_dagster.inference.session_activity import table_path

    path = table_path(look.home)
    return f"{rules().digest} {_stand_for([path])}" if path.exists() else ""


def estimates_are_possible(look: Inspection) -> Finding:
    """Whether no text is estimated at more tokens than it has bytes, and each row is marked as an estimate."""
    from tokenledger_dagster.inference.estimates.table import table_path

    path = table_path(look.home)
    if not path.exists():
        return _nothing("No tokens were estimated.")
    harm = f"the estimate misleads whoever reads it. Delete {path} {_AGAIN}."
    return _judged(
        _rows(look, statement("token_estimate_problems", table=literal(path))),
        "No text is estimated at more tokens than it has bytes.",
        lambda row: f"{_named(row)} {row['problem']}: {harm}",
    )


def token_estimates_state(look: Inspection) -> str:
    """Stands for the estimates."""
    from tokenledger_dagster.inference.estimates.table import table_path

    return _stand_for([table_path(look.home)])


def suggestions_keep_the_digits(look: Inspection) -> Finding:
    """Whether every suggested model is in the catalogue and has the digits of the name: another version never fits."""
    from tokenledger_dagster.inference.mapping_suggestions import kept_review, review_path

    review = kept_review(look.home)
    if review is None:
        return _nothing("No names were reviewed.")
    pairs = [(name, one) for name in review.names for one in name.suggestions]
    rows = [
        {"client": name.client, "name": name.name, "model": one.model, "problem": problem}
        for name, one in pairs
        if (problem := _misfit(name.name, one.model, one.modifiers))
    ]
    harm = f"a person would be led to a wrong price. Delete {review_path(look.home)} {_AGAIN}."
    return _judged(
        rows,
        f"All {len(pairs)} suggested models are in the catalogue and have the digits of the name.",
        lambda row: f"{row['name']} is suggested to be {row['model']}, which {row['problem']}: {harm}",
    )


def suggestions_state(look: Inspection) -> str:
    """Stands for the suggestions."""
    from tokenledger_dagster.inference.mapping_suggestions import review_path

    return _stand_for([review_path(look.home)])


def _misfit(name: str, model: str, modifiers: dict[str, str]) -> str:
    """What is wrong with a suggestion; empty where nothing is."""
    if model not in catalog():
        return "is in no catalogue"
    given, suggested = _digits(name), _digits(model)
    if suggested - given:
        return "has digits that the name does not have"
    # a date, a length of context or a revision that was taken out of the name has digits too
    if given - suggested - _digits("".join(modifiers.values())):
        return "lacks digits of the name"
    return ""


def _digits(text: str) -> Counter[str]:
    return Counter(one for one in text if one.isdecimal())


def _rows(look: Inspection, query: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows that break a property; that a file cannot be read is one of them."""
    import duckdb

    try:
        return look.query(query, parameters)
    except duckdb.Error as error:
        return [{"problem": f"cannot be read ({str(error).splitlines()[0]})"}]


def _named(row: dict[str, Any]) -> str:
    """Which row it is, as far as it could be read."""
    session = " ".join(str(row[name]) for name in ("client", "session_id") if name in row)
    return f"Part {row['part']} of {session}" if "part" in row else session or "A file"


def _judged(rows: list[dict[str, Any]], whole: str, told: Callable[[dict[str, Any]], str]) -> Finding:
    """A finding over rows that should not be there; ``told`` says what the first of them leads to."""
    if not rows:
        return Finding(passed=True, message=whole, actual=0, expected=0)
    return Finding(passed=False, message=told(rows[0]), actual=len(rows), expected=0, rows=rows)


def _nothing(message: str) -> Finding:
    return Finding(passed=True, message=message, skipped=True)


def _stand_for(paths: Iterable[Path]) -> str:
    """Names, sizes and times of files; the same while nobody wrote to them."""
    found = []
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            continue
        found.append(f"{path.name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ino}")
    return "; ".join(found)

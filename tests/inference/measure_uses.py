"""How good activity labels and search by meaning are, on the frozen evaluation set (`fixtures/inference`).

    python -m tests.inference.measure_uses <home>/models/all-MiniLM-L6-v2

Prints tables and writes ``docs/performance/inference_uses.json``.  Run it when prototypes, thresholds and model are
final; what is changed after a look at these figures can no longer be judged by this set.

Here: the figures and the word baseline.  Not here: anything that could be tuned (`config/activities.yaml`).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import platform
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tokenledger_dagster.fileio import write_json_atomic
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.activity import ACTIVITIES, METHOD, OTHER, Guess, Rules, centers, guesses, rules
from tokenledger_dagster.inference.embedder import Embedder, open_embedder
from tokenledger_dagster.inference.switch import model_folder
from tokenledger_dagster.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
FROZEN = ROOT / "fixtures" / "inference"
KEPT = ROOT / "docs" / "performance" / "inference_uses.json"
ABSTAINED = "(none)"

Scores = npt.NDArray[np.float64]
"""[queries, prompts]"""


class Prompt(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    text: str
    activity: str


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    query: str
    expects: str
    overlap: str


def frozen_sha256() -> dict[str, str]:
    return {
        name: hashlib.sha256((FROZEN / name).read_bytes()).hexdigest() for name in ("prompts.jsonl", "queries.jsonl")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a built model: <home>/models/all-MiniLM-L6-v2")
    folder = parser.parse_args().folder.absolute()
    home = Home(folder.parents[1])
    if model_folder(home).root != folder:
        parser.error(f"{folder}: is not {model_folder(home).root}")
    prompts, queries = _frozen("prompts.jsonl", Prompt), _frozen("queries.jsonl", Query)
    settings = load_settings({"TOKENLEDGER_HOME": str(home.root), "TOKENLEDGER_FEATURE_INFERENCE": "true"})
    with open_embedder(home, settings) as embedder:
        served, activity = measure_activity(embedder, prompts, rules())
        search = measure_search(embedder, prompts, queries)
    document = {
        "schema_version": 1,
        "generated_at": datetime.now(UTC).replace(microsecond=0),
        "frozen": frozen_sha256(),
        "model": embedder.model,
        "model_sha256": embedder.model_sha256,
        "backend": served,
        "python": platform.python_version(),
        "rules_digest": rules().digest,
        "activity": activity,
        "search": search,
    }
    write_json_atomic(KEPT, document)
    print(tables(document))


# ------------------------------------------------------------------ activity


def measure_activity(embedder: Embedder, prompts: Sequence[Prompt], using: Rules) -> tuple[str, dict[str, Any]]:
    """The backend that served, and the figures."""
    known = embedder.embed(using.texts)
    asked = embedder.embed([one.text for one in prompts])
    said = list(guesses(asked.vectors, asked.token_counts, centers(known.vectors, using), using))
    (served,) = {f"{one.actual} {one.precision}" for one in [*known.served, *asked.served]}
    return served, {"method": METHOD, **activity_figures([one.activity for one in prompts], said)}


def activity_figures(truth: Sequence[str], said: Sequence[Guess]) -> dict[str, Any]:
    """Shares with their counts; `other` is right where nothing is said."""
    pairs = list(zip(truth, said, strict=True))
    covered = [(true, one.activity) for true, one in pairs if one.activity is not None]
    right = sum(true == guess for true, guess in covered)
    silent = sum(true == OTHER and one.activity is None for true, one in pairs)
    real = [(true, one) for true, one in pairs if true != OTHER]
    table = Counter((true, one.activity or ABSTAINED) for true, one in pairs)
    columns = (*ACTIVITIES, ABSTAINED)
    return {
        "prompts": len(pairs),
        "covered": share(len(covered), len(pairs)),
        "right_of_covered": share(right, len(covered)),
        "right_of_all": share(right + silent, len(pairs)),
        "right_of_those_with_an_activity": share(right, len(real)),
        "other_left_alone": share(silent, len(pairs) - len(real)),
        "nearest_class_without_abstention": share(sum(true == one.nearest for true, one in real), len(real)),
        "abstained": dict(sorted(Counter(one.abstained for _, one in pairs if one.abstained).items())),
        "confusion": {true: {guess: table[true, guess] for guess in columns} for true in (*ACTIVITIES, OTHER)},
    }


def share(count: float, whole: int) -> dict[str, Any]:
    """A share with its Wilson interval of 95 %."""
    if not whole:
        return {"count": count, "of": 0, "share": None, "low": None, "high": None}
    z, p = 1.96, count / whole
    middle = (p + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    return {"count": round(count, 2), "of": whole, "share": round(p, 3), "low": round(low, 3), "high": round(high, 3)}


# ------------------------------------------------------------------ search


def measure_search(embedder: Embedder, prompts: Sequence[Prompt], queries: Sequence[Query]) -> dict[str, Any]:
    texts, asked = [one.text for one in prompts], [one.query for one in queries]
    place = {one.id: number for number, one in enumerate(prompts)}
    expected = [place[one.expects] for one in queries]
    overlaps = [one.overlap for one in queries]
    vectors = embedder.embed([*texts, *asked]).vectors.astype(np.float64)
    found = {"embedding": search_figures(vectors[len(texts) :] @ vectors[: len(texts)].T, expected, overlaps)}
    words = {
        f"words, {'sublinear' if sublinear else 'plain'} tf{', idf' if idf else ''}": search_figures(
            word_scores(texts, asked, sublinear=sublinear, idf=idf), expected, overlaps
        )
        for sublinear in (False, True)
        for idf in (False, True)
    }
    best = max(words, key=lambda name: (words[name]["all"]["hit_at_1"]["share"], words[name]["all"]["mrr"]))
    return {"prompts": len(prompts), "queries": len(queries), "baseline": best, "methods": {**found, **words}}


def search_figures(scores: Scores, expected: Sequence[int], overlaps: Sequence[str]) -> dict[str, Any]:
    """Hit at 1 and mean reciprocal rank by overlap; what scores alike stands in any order, equally likely."""
    hits, ranks = [], []
    for row, wanted in zip(scores, expected, strict=True):
        before, alike = int((row > row[wanted]).sum()), int((row == row[wanted]).sum())
        hits.append((before == 0) / alike)
        ranks.append(sum(1 / (before + some) for some in range(1, alike + 1)) / alike)
    found = {}
    for name in ("none", "some", "all"):
        mine = [number for number, one in enumerate(overlaps) if name in (one, "all")]
        found[name] = {
            "hit_at_1": share(sum(hits[number] for number in mine), len(mine)),
            "mrr": round(sum(ranks[number] for number in mine) / max(len(mine), 1), 3),
        }
    return found


def word_scores(texts: Sequence[str], queries: Sequence[str], *, sublinear: bool, idf: bool) -> Scores:
    """Cosines of word vectors; words are runs of letters and digits in small letters."""
    bags = [Counter(re.findall(r"\w+", text.casefold())) for text in texts]
    seen = Counter(word for bag in bags for word in bag)
    weight: dict[str, float] = {word: math.log((1 + len(texts)) / (1 + count)) + 1 for word, count in seen.items()}
    column = {word: number for number, word in enumerate(seen)}

    def matrix(some: Sequence[Mapping[str, int]]) -> Scores:
        rows = np.zeros((len(some), len(column)))
        for number, bag in enumerate(some):
            for word, count in bag.items():
                if word in column:
                    tf = 1 + math.log(count) if sublinear else count
                    rows[number, column[word]] = tf * (weight[word] if idf else 1)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.where(lengths == 0, 1, lengths))

    asked = [Counter(re.findall(r"\w+", text.casefold())) for text in queries]
    return np.asarray(np.round(matrix(asked) @ matrix(bags).T, 12))


# ------------------------------------------------------------------ shown


def tables(document: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    activity, search = document["activity"], document["search"]
    lines = ["| activity | figure |", "|---|---|"]
    shares = {name: one for name, one in activity.items() if isinstance(one, dict) and "share" in one}
    lines += [f"| {name.replace('_', ' ')} | {shown(one)} |" for name, one in shares.items()]
    columns = (*ACTIVITIES, ABSTAINED)
    lines += ["", f"| truth | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for true, row in activity["confusion"].items():
        lines.append(f"| {true} | {' | '.join(str(row[name] or '') for name in columns)} |")
    lines += ["", "| search | overlap | hit@1 | MRR |", "|---|---|---|---:|"]
    for method, figures in search["methods"].items():
        name = f"{method} (baseline)" if method == search["baseline"] else method
        lines += [f"| {name} | {part} | {shown(one['hit_at_1'])} | {one['mrr']:.3f} |" for part, one in figures.items()]
    return "\n".join(lines)


def shown(one: Mapping[str, Any]) -> str:
    """A share with its counts and interval."""
    if not one["of"]:
        return "-"
    return f"{one['share']:.0%} ({one['count']:g} of {one['of']}; 95 %: {one['low']:.0%} to {one['high']:.0%})"


def _frozen(name: str, kind: type[Any]) -> list[Any]:
    lines = (FROZEN / name).read_bytes().splitlines()
    return [msgspec.json.decode(line, type=kind) for line in lines]


if __name__ == "__main__":
    main()

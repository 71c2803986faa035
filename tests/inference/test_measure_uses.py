"""The frozen evaluation set is what it was, the kept figures are of it and of the rules in force, and each adds up."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
import pytest

from tests.inference.measure_uses import (
    FROZEN,
    KEPT,
    Scores,
    activity_figures,
    frozen_sha256,
    search_figures,
    share,
    tables,
    word_scores,
)
from tokenledger_dagster.inference.activity import ACTIVITIES, METHOD, Guess, rules

SHA256 = {
    "prompts.jsonl": "bf76f14777f29304ffe0535cae232b9998848e1ad7801ad9aeaa2e553c8e1c07",
    "queries.jsonl": "46c1fab0232f48c1c61b45adae0ccda7fbd0b132b4543148981025971e45abfe",
}


def guess(activity: str | None, nearest: str = "debug") -> Guess:
    return Guess(activity, "" if activity else "low_margin", activity or nearest, "docs", 0.5, 0.2)


def test_the_frozen_set_is_what_was_frozen() -> None:
    assert frozen_sha256() == SHA256
    assert (
        dict(re.findall(r"^\| `(\w+\.jsonl)` \| \d+ \| `(\w{64})` \|$", (FROZEN / "README.md").read_text(), re.M))
        == SHA256
    )


def test_the_kept_figures_are_of_this_set_and_of_the_rules_in_force() -> None:
    """Who changes prototypes or thresholds needs a new set: this one was looked at."""
    kept = json.loads(KEPT.read_bytes())
    assert kept["frozen"] == SHA256
    assert kept["rules_digest"] == rules().digest
    assert (kept["activity"]["method"], kept["activity"]["prompts"], kept["search"]["queries"]) == (METHOD, 120, 72)


def test_the_kept_figures_add_up() -> None:
    kept = json.loads(KEPT.read_bytes())["activity"]
    confusion = kept["confusion"]
    assert sum(count for row in confusion.values() for count in row.values()) == 120
    assert sum(confusion[name][name] for name in ACTIVITIES) == kept["right_of_covered"]["count"]
    assert 120 - sum(row["(none)"] for row in confusion.values()) == kept["covered"]["count"]
    assert sum(kept["abstained"].values()) == 120 - kept["covered"]["count"]


def test_the_page_shows_the_kept_figures() -> None:
    page = (FROZEN.parents[1] / "docs" / "inference.md").read_text(encoding="utf-8")
    for table in tables(json.loads(KEPT.read_bytes())).split("\n\n"):
        assert table in page


def test_shares_of_labels() -> None:
    truth = ["debug", "debug", "docs", "other", "other"]
    found = activity_figures(truth, [guess("debug"), guess(None), guess("debug"), guess(None), guess("docs")])

    counts = {
        name: (one["count"], one["of"])
        for name, one in found.items()
        if "share" in (one if isinstance(one, dict) else {})
    }
    assert counts == {
        "covered": (3, 5),
        "right_of_covered": (1, 3),
        "right_of_all": (2, 5),
        "right_of_those_with_an_activity": (1, 3),
        "other_left_alone": (1, 2),
        "nearest_class_without_abstention": (2, 3),
    }
    assert found["confusion"]["docs"] == {**dict.fromkeys((*ACTIVITIES, "(none)"), 0), "debug": 1}


def test_a_share_carries_its_uncertainty() -> None:
    assert share(50, 100) == {"count": 50, "of": 100, "share": 0.5, "low": 0.404, "high": 0.596}
    assert share(0, 0)["share"] is None


@pytest.mark.parametrize(
    ("row", "wanted", "hit", "mrr"),
    [
        ([0.9, 0.1, 0.2], 0, 1, 1.0),
        ([0.9, 0.1, 0.2], 2, 0, 0.5),
        ([0, 0, 0, 0], 1, 0.25, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4),
    ],
)
def test_what_scores_alike_is_a_hit_by_chance_only(row: Sequence[float], wanted: int, hit: float, mrr: float) -> None:
    found = search_figures(np.array([row], float), [wanted], ["none"])
    assert found["none"]["hit_at_1"]["count"] == hit
    assert found["all"]["mrr"] == round(mrr, 3)
    assert found["some"]["hit_at_1"]["of"] == 0


def cosine(scores: Scores) -> list[float]:
    return [round(float(one), 3) for one in scores[0]]


def test_the_baseline_compares_words() -> None:
    texts = ["Flaky test", "test test test login", "nothing"]
    assert cosine(word_scores(texts, ["flaky TEST!"], sublinear=False, idf=False)) == [1, 0.671, 0]
    assert cosine(word_scores(texts, ["test"], sublinear=True, idf=False)) == [0.707, 0.903, 0]
    rare, common = word_scores(texts, ["flaky", "test"], sublinear=False, idf=True)[:, 0]
    assert rare > common
    assert cosine(word_scores(texts, ["unseen"], sublinear=True, idf=True)) == [0, 0, 0]

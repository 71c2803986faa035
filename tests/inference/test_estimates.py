"""Estimating tokens: what is counted of a text, the fit, its error, and which estimator is trusted."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenledger_dagster.contracts.columns import markdown
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.inference.estimates import estimator
from tokenledger_dagster.inference.estimates.choosing import Choices
from tokenledger_dagster.inference.estimates.estimator import Estimator, last_resort, load_shipped
from tokenledger_dagster.inference.estimates.features import FEATURES, NOTHING, added, features_of
from tokenledger_dagster.inference.estimates.fitting import Sample, cross_validated, error_of, fit, fitted
from tokenledger_dagster.inference.estimates.least_squares import non_negative
from tokenledger_dagster.inference.estimates.table import TOKEN_ESTIMATES
from tokenledger_dagster.inference.policy import EstimatePolicy

ROOT = Path(__file__).parents[2]
np = pytest.importorskip("numpy", reason="the extra `inference` is not installed")

LIMITS = EstimatePolicy(min_check_samples=20, min_fit_samples=60, folds=5, max_samples=2000, max_fit_bytes=1 << 20)


# ------------------------------------------------------------------ figures of a text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (0, 0, 0, 0, 0, 0, 0, 0)),
        ("fix the test", (1, 12, 0, 3, 0, 0, 0, 0)),
        ("x_1 = 42;\n", (1, 10, 0, 1, 3, 3, 1, 0)),
        ("naïve café", (1, 10, 2, 2, 0, 0, 0, 0)),
        ("\u4f60\u597d, \u043c\u0438\u0440", (1, 7, 7, 2, 0, 1, 0, 2)),
        ("\U0001f680", (1, 1, 3, 0, 0, 1, 0, 1)),
        ("\ud800", (1, 1, 2, 0, 0, 1, 0, 1)),  # half a pair counts as the character that takes its place
    ],
)
def test_eight_figures_are_counted(text: str, expected: tuple[int, ...]) -> None:
    assert features_of(text) == expected
    assert len(FEATURES) == len(expected)


@given(st.text(st.characters(), max_size=300))
def test_figures_are_those_of_the_text(text: str) -> None:
    told = dict(zip(FEATURES, features_of(text), strict=True))
    assert told["characters"] == len(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
    assert told["newlines"] == text.count("\n")
    assert told["words"] + told["digits"] + told["punctuation"] + told["newlines"] <= told["characters"]
    assert added(features_of(text), NOTHING) == features_of(text)


# ------------------------------------------------------------------ least squares


def test_a_weight_that_would_be_negative_is_zero() -> None:
    # the plain solution is x = (2, -1)
    found = non_negative(np.array([[1.0, 1.0], [1.0, 2.0]]), np.array([1.0, 0.0]))
    assert found.tolist() == pytest.approx([0.5, 0.0])
    assert non_negative(np.zeros((3, 2)), np.ones(3)).tolist() == [0.0, 0.0]
    assert non_negative(np.eye(2), np.array([3.0, 4.0])).tolist() == pytest.approx([3.0, 4.0])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 8), columns=st.integers(1, 4), twin=st.booleans())
def test_no_set_of_non_negative_weights_is_better(seed: int, rows: int, columns: int, twin: bool) -> None:
    chance = np.random.default_rng(seed)
    matrix, target = chance.normal(size=(rows, columns)), chance.normal(size=rows)
    if twin and columns > 1:
        matrix[:, 1] = matrix[:, 0]  # columns that depend on each other
    found = non_negative(matrix, target)

    best = float(np.linalg.norm(target))
    for size in range(1, columns + 1):
        for chosen in itertools.combinations(range(columns), size):
            weights = np.linalg.lstsq(matrix[:, chosen], target, rcond=None)[0]
            if (weights >= 0).all():
                best = min(best, float(np.linalg.norm(matrix[:, chosen] @ weights - target)))
    assert (found >= 0).all()
    assert float(np.linalg.norm(matrix @ found - target)) == pytest.approx(best, abs=1e-6)


# ------------------------------------------------------------------ fitting

PLANTED = (2.0, 0.1, 0.5, 1.0, 0.7, 0.4, 0.0, 0.3)


def planted(count: int, weights: tuple[float, ...] = PLANTED, sessions: int = 10, noise: float = 0.0) -> list[Sample]:
    """Samples whose counts follow these weights."""
    chance = random.Random(7)
    made = []
    for number in range(count):
        figures = (1, *(chance.randrange(5, 400) for _ in range(7)))
        count_of = sum(weight * figure for weight, figure in zip(weights, figures, strict=True))
        off = 1 + noise * chance.uniform(-1, 1)
        made.append(Sample(figures, max(1, round(count_of * off)), f"s{number % sessions}"))
    return made


def test_planted_weights_are_found() -> None:
    found = fit(planted(200))
    assert found[1:] == pytest.approx(PLANTED[1:], abs=0.02)
    assert error_of(found, planted(200)) < 0.005


def test_the_error_is_the_mean_of_relative_errors() -> None:
    samples = [Sample((1, 40, 0, 0, 0, 0, 0, 0), 10, "a"), Sample((1, 40, 0, 0, 0, 0, 0, 0), 20, "b")]
    assert error_of(last_resort().weights, samples) == pytest.approx(0.25)  # 10 for 10, 10 for 20
    assert error_of(last_resort().weights, []) == 0.0
    assert fit([]) == (0.0,) * 8


def test_a_session_is_never_judged_by_weights_that_know_it() -> None:
    figures = (1, 100, 0, 0, 0, 0, 0, 0)
    two = [Sample(figures, 100, "one")] * 5 + [Sample(figures, 200, "other")] * 5
    # each is judged by the other: 200 for 100, 100 for 200
    assert cross_validated(two, 5) == pytest.approx((1.0 + 0.5) / 2)
    assert cross_validated(two[:5], 5) is None
    assert fitted(two[:5], 5) is None


# ------------------------------------------------------------------ estimators


def test_a_text_has_at_least_one_token_and_none_has_none() -> None:
    quarter = last_resort()
    assert quarter.tokens(features_of("a")) == 1
    assert quarter.tokens(features_of("a" * 4000)) == 1000
    assert quarter.tokens(NOTHING) == 0
    assert (quarter.method, quarter.expected_error, quarter.sample_count) == ("characters", 1.0, 0)


def test_the_shipped_weights_tell_how_good_they_are() -> None:
    shipped = load_shipped()
    weights, quarter = shipped.estimators
    assert weights.sample_count == shipped.texts == sum(kind.texts for kind in shipped.kinds.values())
    errors = list(shipped.other_vocabularies.values())
    assert shipped.expected_error == pytest.approx(sum(errors) / len(errors), abs=1e-4)
    assert weights.expected_error < quarter.expected_error
    assert weights.tokens(features_of("def parse(line: str) -> list[str]:\n    return line.split(',')\n")) == 20


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b'{"schema_version": 2}', "Invalid enum value 2"),
    ],
)
def test_a_damaged_file_of_weights_is_told_in_one_line(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TokenLedgerError) as caught:
        load_shipped(path)
    assert told in str(caught.value)
    assert str(caught.value).startswith(f"{path}: cannot be used (")
    assert str(caught.value).endswith("; restore it from the repository")


@pytest.mark.parametrize("change", [{"weights": [1.0]}, {"features": ["letters"] * 8}])
def test_weights_of_other_features_are_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({**json.loads(estimator.SHIPPED_PATH.read_bytes()), **change}))
    with pytest.raises(TokenLedgerError, match="has other features than this program counts"):
        load_shipped(path)


# ------------------------------------------------------------------ which one is trusted


def told(chosen: Estimator) -> tuple[str, int]:
    return chosen.method, chosen.sample_count


def test_without_samples_the_shipped_weights_are_used() -> None:
    choices = Choices({}, LIMITS)
    assert told(choices.of("anthropic")) == ("shipped", load_shipped().texts)
    assert choices.of("") is choices.of("")
    assert choices.problem is None


def test_few_samples_say_how_far_off_the_ready_ones_are() -> None:
    shipped = tuple(load_shipped().weights)
    assert told(Choices({"openai": planted(19, shipped)}, LIMITS).of("openai")) == ("shipped", load_shipped().texts)
    chosen = Choices({"openai": planted(20, shipped)}, LIMITS).of("openai")
    assert told(chosen) == ("shipped", 20)
    assert chosen.expected_error < 0.02


def test_a_quarter_of_the_characters_is_used_where_it_is_the_nearest() -> None:
    chosen = Choices({"google": planted(59, last_resort().weights)}, LIMITS).of("google")
    assert told(chosen) == ("characters", 59)


def test_enough_samples_make_weights_of_their_own() -> None:
    choices = Choices({"anthropic": planted(60, noise=0.1)}, LIMITS)
    chosen = choices.of("anthropic")
    assert told(chosen) == ("fitted", 60)
    assert 0.02 < chosen.expected_error < 0.1  # half of the noise, and what 60 samples cannot tell
    assert told(choices.of("openai"))[0] == "shipped"  # another maker has another tokenizer


def test_weights_of_one_session_are_not_trusted() -> None:
    assert Choices({"anthropic": planted(60, sessions=1)}, LIMITS).of("anthropic").method != "fitted"


@pytest.mark.parametrize("sessions", [1, 2, 200])
def test_one_answer_given_many_times_teaches_nothing(sessions: int) -> None:
    same = [Sample(features_of("All is well."), 4, f"s{number % sessions}") for number in range(200)]

    assert told(Choices({"openai": same}, LIMITS).of("openai")) == ("shipped", load_shipped().texts)


def test_the_order_in_which_logs_are_read_changes_no_choice() -> None:
    samples = planted(80, noise=0.3)
    samples += [one._replace(tokens=one.tokens + 1, group="copy") for one in samples[::3]]
    chosen = Choices({"openai": samples}, LIMITS).of("openai")

    assert Choices({"openai": samples[::-1]}, LIMITS).of("openai") == chosen
    assert Choices({"openai": samples[40:] + samples[:40]}, LIMITS).of("openai") == chosen


def test_without_the_shipped_file_the_last_resort_serves_and_it_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone.json"
    choices = Choices({}, LIMITS, gone)
    assert told(choices.of("anthropic")) == ("characters", 0)
    assert choices.of("anthropic").expected_error == 1.0
    assert choices.problem is not None
    assert "gone.json: cannot be used" in choices.problem
    assert told(Choices({"anthropic": planted(60)}, LIMITS, gone).of("anthropic")) == ("fitted", 60)


def test_the_figures_of_a_session_estimate_as_its_texts_do() -> None:
    chosen = Choices({}, LIMITS).of("")
    texts = [f"step {number}: read the file, then fix it\n" * number for number in range(1, 40)]
    apart = sum(chosen.tokens(features_of(text)) for text in texts)
    together = NOTHING
    for text in texts:
        together = added(together, features_of(text))
    assert abs(chosen.tokens(together) - apart) <= len(texts) / 2  # each is rounded once
    assert msgspec.json.decode(msgspec.json.encode(chosen), type=Estimator) == chosen


# ------------------------------------------------------------------ documented figures


def test_the_documented_errors_are_those_of_the_file() -> None:
    shipped = load_shipped()
    page = (ROOT / "docs" / "inference.md").read_text("utf-8")
    kinds = shipped.kinds.values()

    def percent(share: float) -> str:
        return f"{share * 100:.0f} %"

    def mean(name: str) -> str:
        return percent(sum(getattr(kind, name) * kind.texts for kind in kinds) / shipped.texts)

    for kind in kinds:
        errors = map(percent, (kind.characters_error, kind.cross_validated_error, kind.left_out_error))
        assert f" | {kind.texts} | {kind.characters_per_token} | {' | '.join(errors)} |\n" in page
    names = ("characters_error", "cross_validated_error", "left_out_error")
    assert f"| all | {shipped.texts:,} | | {' | '.join(map(mean, names))} |\n" in page
    both = f"the shipped weights are off by {percent(shipped.expected_error)}, a quarter of the characters by"
    assert f"{both} {percent(shipped.characters_error)}." in " ".join(page.split())
    assert f"fitted on {shipped.texts:,} texts" in page


def test_the_documented_columns_are_those_of_the_table() -> None:
    page = (ROOT / "docs" / "contracts" / "inference.md").read_text("utf-8")
    assert markdown(TOKEN_ESTIMATES) in page

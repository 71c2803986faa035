"""Settings: one file of defaults, then a file of the caller's, then the environment; errors that say what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tokenledger_dagster import settings_defaults
from tokenledger_dagster.errors import SettingsError
from tokenledger_dagster.home_files import default_root
from tokenledger_dagster.settings import (
    DEFAULT_CONFIG,
    Features,
    Settings,
    copy_of_defaults,
    load_settings,
    read_yaml,
)


def own_file(folder: Path, text: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_those_of_the_yaml_file() -> None:
    settings = load_settings({"TOKENLEDGER_HOME": "/ledger"})

    assert settings == Settings(
        home=Path("/ledger"),
        timezone=None,
        month=None,
        host=None,
        executor="in_process",
        automation=False,
        on_unpriced="skip",
        month_closes_after_days=3,
        journal_compact_rows=50_000,
        snapshot_top_n=5,
        retention_runs_count=500,
        retention_reconcile_count=50,
        retention_bench_count=200,
        retention_answers_count=16,
        retention_aggregates_count=512,
        retention_runs_days=365,
        retention_reconcile_days=180,
        retention_bench_days=730,
        retention_answers_days=30,
        retention_aggregates_days=180,
        features=Features(
            coreml=False,
            inference="auto",
            inference_prompts=False,
            inference_store_prompts=False,
            observability_prometheus=False,
            observability_redis=False,
            observability_statsd=False,
            storage_db_artifacts=False,
        ),
    )


def test_home_defaults_to_a_folder_for_user_data_below_the_home_folder() -> None:
    home = load_settings({}).home

    assert home.is_absolute()
    assert home.is_relative_to(Path.home())
    assert "tokenledger" in home.name


@pytest.mark.parametrize(
    ("given", "expected"),
    [("~/books", "{home}/books"), ("books", "{cwd}/books"), ("/books", "/books")],
)
def test_home_becomes_absolute(given: str, expected: str) -> None:
    assert str(load_settings({"TOKENLEDGER_HOME": given}).home) == expected.format(home=Path.home(), cwd=Path.cwd())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("timezone", "Asia/Kathmandu", "Asia/Kathmandu"),
        ("month", "2026-02", "2026-02"),
        ("host", "laptop", "laptop"),
        ("executor", "multiprocess", "multiprocess"),
        ("on_unpriced", "error", "error"),
        ("month_closes_after_days", "0", 0),
        ("journal_compact_rows", "7", 7),
        ("snapshot_top_n", "3", 3),
        ("retention_runs_count", "2", 2),
        ("retention_answers_days", "9", 9),
    ],
)
def test_environment_overrides_a_setting(name: str, text: str, value: object) -> None:
    assert getattr(load_settings({f"TOKENLEDGER_{name.upper()}": text}), name) == value


@pytest.mark.parametrize(
    ("variable", "feature"),
    [
        ("COREML", "coreml"),
        ("INFERENCE", "inference"),
        ("INFERENCE_PROMPTS", "inference.prompts"),
        ("INFERENCE_STORE_PROMPTS", "inference.store_prompts"),
        ("OBSERVABILITY_PROMETHEUS", "observability.prometheus"),
        ("OBSERVABILITY_REDIS", "observability.redis"),
        ("OBSERVABILITY_STATSD", "observability.statsd"),
        ("STORAGE_DB_ARTIFACTS", "storage.db_artifacts"),
    ],
)
@pytest.mark.parametrize("text", ["true", "1", "True"])
def test_environment_switches_a_feature_on(variable: str, feature: str, text: str) -> None:
    assert not load_settings({}).feature(feature)
    assert load_settings({f"TOKENLEDGER_FEATURE_{variable}": text}).feature(feature)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", "auto"), ("true", "true"), ("1", "true"), ("False", "false"), ("0", "false"), ("", "auto")],
)
def test_environment_sets_a_feature_that_can_be_automatic(text: str, expected: str) -> None:
    assert load_settings({"TOKENLEDGER_FEATURE_INFERENCE": text}).features.inference == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("auto", "auto"), ("true", "true"), ("'true'", "true"), ("false", "false"), ("off", "false")]
)
def test_a_file_sets_it_by_word_or_by_yaml_boolean(tmp_path: Path, text: str, expected: str) -> None:
    settings = load_settings({}, own_file(tmp_path, f"features: {{inference: {text}}}\n"))

    assert settings.features.inference == expected
    assert settings.feature("inference") is (expected == "true")


def test_empty_variable_counts_as_not_set() -> None:
    assert load_settings({"TOKENLEDGER_EXECUTOR": "", "TOKENLEDGER_FEATURE_COREML": ""}) == load_settings({})


def test_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_SNAPSHOT_TOP_N", "8")

    assert load_settings().snapshot_top_n == 8


@pytest.mark.parametrize(
    ("variable", "text", "remedy"),
    [
        ("TOKENLEDGER_EXECUTOR", "threads", "use one of in_process, multiprocess"),
        ("TOKENLEDGER_ON_UNPRICED", "ignore", "use one of skip, error"),
        ("TOKENLEDGER_TIMEZONE", "Mars/Olympus", "use an IANA name"),
        ("TOKENLEDGER_TIMEZONE", "../etc/passwd", "use an IANA name"),
        ("TOKENLEDGER_TIMEZONE", "America", "use an IANA name"),
        ("TOKENLEDGER_MONTH", "2026-13", "regex"),
        ("TOKENLEDGER_JOURNAL_COMPACT_ROWS", "0", ">= 1"),
        ("TOKENLEDGER_JOURNAL_COMPACT_ROWS", "big", "int"),
        ("TOKENLEDGER_SNAPSHOT_TOP_N", "-1", ">= 1"),
        ("TOKENLEDGER_FEATURE_COREML", "maybe", "use one of true, false"),
        ("TOKENLEDGER_FEATURE_COREML", "auto", "use one of true, false"),
        ("TOKENLEDGER_FEATURE_INFERENCE", "maybe", "use one of auto, true, false"),
        ("TOKENLEDGER_FEATURE_COFFEE", "true", "TOKENLEDGER_FEATURE_COREML"),
    ],
)
def test_bad_variable_is_named_with_its_value_and_a_remedy(variable: str, text: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({variable: text})

    message = str(caught.value)
    assert message.startswith(f"{variable}={text!r}")
    assert remedy in message
    assert "\n" not in message
    assert caught.value.exit_code == 4


def test_own_file_overrides_defaults_and_the_environment_overrides_it(tmp_path: Path) -> None:
    path = own_file(tmp_path, "snapshot_top_n: 9\njournal_compact_rows: 1\nfeatures: {inference: true}\n")

    settings = load_settings({"TOKENLEDGER_JOURNAL_COMPACT_ROWS": "2"}, path)

    assert (settings.snapshot_top_n, settings.journal_compact_rows) == (9, 2)
    assert settings.feature("inference")
    assert not settings.feature("coreml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("executor: threads\n", "executor='threads'"),
        ("snapshot_top_n: '5'\n", "snapshot_top_n='5'"),
        ("timezone: Nowhere/At_All\n", "timezone='Nowhere/At_All'"),
        ("features: {coreml: 1}\n", "features: coreml=1"),
        ("features: {inference: 1}\n", "features: inference=1 cannot be used: use one of auto, true, false"),
        ("features: {inference: null}\n", "features: inference=None"),
        ("features: [coreml]\n", "features is ['coreml']"),
        ("excutor: in_process\n", "'excutor' is no setting"),
        ("features: {coffee: true}\n", "'coffee' is no setting"),
        ("- a\n", "holds no settings"),
        ("a: [\n", "cannot be read as settings"),
    ],
)
def test_bad_file_is_named_with_the_place_in_it(tmp_path: Path, text: str, expected: str) -> None:
    path = own_file(tmp_path, text)

    with pytest.raises(SettingsError) as caught:
        load_settings({}, path)

    assert str(caught.value).startswith(f"{path}: ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_an_error_and_an_empty_one_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml"):
        load_settings({}, tmp_path / "absent.yaml")
    assert load_settings({}, own_file(tmp_path, "# nothing\n")) == load_settings({})


def test_settings_cannot_be_changed() -> None:
    settings = load_settings({})

    with pytest.raises(AttributeError):
        settings.executor = "multiprocess"  # type: ignore[misc]
    assert isinstance(hash(settings), int)
    assert msgspec.structs.replace(settings, executor="multiprocess").executor == "multiprocess"


def test_unknown_feature_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"observability\.statsd"):
        load_settings({}).feature("coffee")


def test_importing_settings_imports_neither_yaml_nor_platformdirs() -> None:
    unwanted = {"yaml", "platformdirs", "zoneinfo"}
    code = f"import sys, tokenledger_dagster.settings; print(sorted({unwanted} & set(sys.modules)))"
    root = Path(__file__).parents[2]

    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)

    assert (done.returncode, done.stdout.strip()) == (0, "[]")


def test_the_copy_of_the_defaults_is_that_of_the_yaml_file() -> None:
    assert settings_defaults.are_current(), "run tests/docs/generated.py"
    assert copy_of_defaults() == read_yaml(DEFAULT_CONFIG)
    assert copy_of_defaults()["snapshot_top_n"] == settings_defaults.SNAPSHOT_TOP_N


def test_edited_defaults_are_read_from_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edited = tmp_path / "default.yaml"
    edited.write_text(DEFAULT_CONFIG.read_text("utf-8").replace("snapshot_top_n: 5", "snapshot_top_n: 7"))
    monkeypatch.setattr("tokenledger_dagster.settings.DEFAULT_CONFIG", edited)
    monkeypatch.setattr("tokenledger_dagster.settings_defaults._CONFIG", str(edited))

    assert load_settings({}).snapshot_top_n == 7


@pytest.mark.parametrize("xdg", [None, "", " ", "/data", " /data", "relative"])
def test_the_default_home_is_that_of_platformdirs(xdg: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import platformdirs

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if xdg is not None:
        monkeypatch.setenv("XDG_DATA_HOME", xdg)

    assert default_root() in (None, platformdirs.user_data_dir("tokenledger", appauthor=False))

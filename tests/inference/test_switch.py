"""Whether inference is on: by settings, by what is installed, by a model that was built; found out cheaply."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference import switch
from tokenledger_dagster.inference.model_card import read_card
from tokenledger_dagster.inference.switch import InferenceOffError, model_folder, requested_backend, require, standing
from tokenledger_dagster.settings import load_settings

BUILD = "run `make setup-inference`, then `tokenledger models build`"
SWITCH = "set `inference: auto` under `features` or TOKENLEDGER_FEATURE_INFERENCE=auto"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of the extra, whether they are there or not."""
    monkeypatch.setattr(switch, "_NEEDED", ("json",))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def built(home: Home) -> None:
    folder = model_folder(home)
    folder.root.mkdir(parents=True)
    folder.manifest.write_text("{}")


def features(**given: str) -> dict[str, str]:
    return {f"TOKENLEDGER_FEATURE_{name.upper()}": value for name, value in given.items()}


@pytest.mark.parametrize("text", ["auto", "true"])
def test_without_a_model_it_is_off_and_says_how_to_get_one(home: Home, text: str) -> None:
    found = standing(home, load_settings(features(inference=text)))

    assert (found.on, found.model, found.remedy) == (False, None, BUILD)
    assert found.why == f"no model in {home.root}/models/all-MiniLM-L6-v2"


def test_weights_alone_are_no_model(home: Home) -> None:
    folder = model_folder(home)
    folder.root.mkdir(parents=True)
    folder.weights.touch()

    found = standing(home, load_settings({}))

    assert not found.on
    assert (found.why, found.remedy) == (
        f"{folder.root} has weights that nothing was built of yet",
        "run `tokenledger models build`",
    )


@pytest.mark.parametrize("text", ["auto", "true"])
def test_with_a_model_it_is_on_and_no_prompt_is_read(home: Home, text: str) -> None:
    built(home)

    found = standing(home, load_settings(features(inference=text)))

    assert found == (True, False, False, model_folder(home), "", "")
    assert require(home, load_settings(features(inference=text))) == model_folder(home)


def test_it_can_be_switched_off(home: Home) -> None:
    built(home)

    found = standing(home, load_settings(features(inference="false", inference_prompts="true")))

    assert (found.on, found.prompts, found.why, found.remedy) == (
        *(False, False),
        "the feature `inference` is false",
        SWITCH,
    )


def test_folder_that_may_not_be_looked_into_is_no_error(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_file", refuse)

    found = standing(home, load_settings({}))

    assert (found.on, found.model) == (False, None)
    assert found.told == (
        f"off: {model_folder(home).root} cannot be looked into (Permission denied); check its permissions"
    )


def test_missing_packages_are_named(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    built(home)
    monkeypatch.setattr(switch, "_NEEDED", ("json", "no_such_package", "nor_this"))

    found = standing(home, load_settings({}))

    assert not found.on
    assert (found.why, found.remedy) == (
        "no_such_package, nor_this of the extra `inference` not installed",
        "run `make setup-inference`",
    )


@pytest.mark.parametrize(
    ("prompts", "store", "expected"),
    [
        ("false", "false", (False, False)),
        ("true", "false", (True, False)),
        ("true", "true", (True, True)),
        ("false", "true", (False, False)),
    ],
)
def test_prompts_are_read_and_kept_only_where_asked(
    home: Home, prompts: str, store: str, expected: tuple[bool, bool]
) -> None:
    built(home)

    found = standing(home, load_settings(features(inference_prompts=prompts, inference_store_prompts=store)))

    assert (found.prompts, found.store_prompts) == expected


def test_who_needs_it_is_told_in_one_line(home: Home) -> None:
    with pytest.raises(InferenceOffError) as caught:
        require(home, load_settings({}))

    assert str(caught.value) == f"inference is off: no model in {home.root}/models/all-MiniLM-L6-v2; {BUILD}"
    assert isinstance(caught.value, TokenLedgerError)


def test_core_ml_is_asked_first_only_where_switched_on() -> None:
    assert requested_backend(load_settings({})) == "onnx"
    assert requested_backend(load_settings(features(coreml="true"))) == "coreml"


def test_the_folder_is_named_after_the_model() -> None:
    assert read_card().name.rsplit("/", 1)[1] == switch.MODEL_SLUG


def test_finding_it_out_imports_no_runtime() -> None:
    heavy = {"numpy", "onnx", "onnxruntime", "coremltools", "safetensors", "tokenizers", "huggingface_hub", "yaml"}
    code = (
        "import sys; from pathlib import Path; from tokenledger_dagster.home import Home; "
        "from tokenledger_dagster.settings import load_settings; "
        "from tokenledger_dagster.inference.switch import standing; standing(Home(Path('/')), load_settings({})); "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], capture_output=True, text=True)

    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_what_is_needed_are_packages_of_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")

    assert all(f'"{name}>=' in project for name in switch._NEEDED)
    assert importlib.util.find_spec("numpy") is not None

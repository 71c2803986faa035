"""Whether inference is on, of which model, and what it may read: all that can be said without loading anything.

Here: settings, installed packages and the model's folder, looked at together. Not here: whether the model's files are
what they should be (`loading`), and how one gets a model (`fetch`, `build`).

Cheap: a `stat` and a look at the import path; neither numpy nor a runtime is imported.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import NamedTuple

from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.backend import BackendName
from tokenledger_dagster.inference.model_folder import ModelFolder
from tokenledger_dagster.settings import Settings

__all__ = [
    "MODEL_SLUG",
    "InferenceOffError",
    "Standing",
    "missing_packages",
    "model_folder",
    "requested_backend",
    "require",
    "standing",
]

MODEL_SLUG = "all-MiniLM-L6-v2"
"""The model's folder below `<home>/models`; `config/embedding_model.yaml` says which model it is."""
SWITCH_ON = "set `inference: auto` under `features` or TOKENLEDGER_FEATURE_INFERENCE=auto"
BUILD = "run `make setup-inference`, then `tokenledger models build`"
_NEEDED = ("numpy", "safetensors", "tokenizers")
"""Without these not even the backend of last resort runs."""


class InferenceOffError(TokenLedgerError):
    """Something needs inference and it is off; the message says why, and how it is turned on."""


class Standing(NamedTuple):
    """What inference may do now."""

    on: bool
    prompts: bool
    """Whether the words a person typed may be read and embedded."""
    store_prompts: bool
    """Whether these words may be kept; never without `prompts`."""
    model: ModelFolder | None
    """The built model; there may be one while inference is off."""
    why: str
    """Why it is off; "" where it is on."""
    remedy: str
    """How to turn it on; "" where it is on."""

    @property
    def told(self) -> str:
        """One line for a person: on with which model, or off, why, and how it is turned on."""
        return f"on, with {self.model.root}" if self.on and self.model else f"off: {self.why}; {self.remedy}"


def model_folder(home: Home) -> ModelFolder:
    """Where the model of this home is, or would be."""
    return ModelFolder(home.models / MODEL_SLUG)


def standing(home: Home, settings: Settings) -> Standing:
    """Look at settings, packages and the model's folder; a manifest stands for a built model, since it is made last."""
    folder = model_folder(home)
    try:
        built = folder if folder.manifest.is_file() else None
        why, remedy = _off(settings, folder, built)
    except OSError as error:
        built, why = None, f"{folder.root} cannot be looked into ({error.strerror})"
        remedy = "check its permissions"
    on = not why
    prompts = on and settings.features.inference_prompts
    return Standing(
        on=on,
        prompts=prompts,
        store_prompts=prompts and settings.features.inference_store_prompts,
        model=built,
        why=why,
        remedy=remedy,
    )


def require(home: Home, settings: Settings) -> ModelFolder:
    """The folder of the model, where inference is on.

    Raises:
        InferenceOffError: it is off.
    """
    found = standing(home, settings)
    if not found.on or found.model is None:
        raise InferenceOffError(f"inference is {found.told}")
    return found.model


def requested_backend(settings: Settings) -> BackendName:
    """The backend that is asked for first; which one answers is recorded with each answer."""
    return "coreml" if settings.features.coreml else "onnx"


def missing_packages(packages: Iterable[str]) -> list[str]:
    """Those of some packages that are not installed; none is imported."""
    return [name for name in packages if importlib.util.find_spec(name) is None]


def _off(settings: Settings, folder: ModelFolder, built: ModelFolder | None) -> tuple[str, str]:
    """Why inference is off and what helps; both empty where it is on."""
    if settings.features.inference == "false":
        return "the feature `inference` is false", SWITCH_ON
    if built is None:
        if folder.weights.is_file():
            return f"{folder.root} has weights that nothing was built of yet", "run `tokenledger models build`"
        return f"no model in {folder.root}", BUILD
    missing = missing_packages(_NEEDED)
    if missing:
        return f"{', '.join(missing)} of the extra `inference` not installed", "run `make setup-inference`"
    return "", ""

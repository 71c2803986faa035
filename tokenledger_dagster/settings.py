"""The settings of one run: `config/default.yaml`, then a file of the caller's, then the environment.

Belongs here: what a person may set, its type, its bounds and its sources. Does not belong here: the defaults (they are
in the YAML file alone), what agents' own variables mean (`clients/`), and the layout of the home (`home.py`).

Importing this module costs the standard library and msgspec. PyYAML and platformdirs are imported when needed: a caller
loads settings once and passes them on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import msgspec

from tokenledger_dagster import settings_defaults
from tokenledger_dagster.errors import SettingsError
from tokenledger_dagster.home_files import default_root

__all__ = ["Features", "Settings", "Switch", "is_automatic", "load_settings"]

DEFAULT_CONFIG = Path(__file__).resolve().parent.parent / "config" / "default.yaml"
_ENV = "TOKENLEDGER_"
_FEATURE_ENV = "TOKENLEDGER_FEATURE_"

_Count = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
_Days = Annotated[int, msgspec.Meta(ge=1, le=36_500)]
_Month = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
_Text = Annotated[str, msgspec.Meta(min_length=1)]
Switch = Literal["auto", "true", "false"]
"""A feature that is on by itself where what it needs is there."""


class Features(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Switches for what the base installation does not need; their public names are dotted."""

    coreml: bool
    """Run the embedding model on Apple's Core ML."""
    inference: Switch
    """Embed on this machine; what `auto` comes to says `inference.switch`."""
    inference_prompts: bool = msgspec.field(name="inference.prompts")
    """Read the words that a person typed, and embed them."""
    inference_store_prompts: bool = msgspec.field(name="inference.store_prompts")
    """Keep these words, not only their vectors."""
    observability_prometheus: bool = msgspec.field(name="observability.prometheus")
    """Serve metrics to Prometheus."""
    observability_redis: bool = msgspec.field(name="observability.redis")
    """Publish progress to Redis."""
    observability_statsd: bool = msgspec.field(name="observability.statsd")
    """Send metrics to StatsD."""
    storage_db_artifacts: bool = msgspec.field(name="storage.db_artifacts")
    """Keep artifacts in a database beside the files."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a run, immutable. Made by `load_settings`."""

    home: Path
    """The ledger's home, absolute; it need not exist."""
    timezone: _Text | None
    """IANA name of the reporting zone; None = the system's."""
    month: _Month | None
    """The month of summaries, YYYY-MM; None = the latest event's."""
    host: _Text | None
    """Name of this machine in the ledger; None = its network name."""
    executor: Literal["in_process", "multiprocess"]
    automation: bool
    """Whether schedules and sensors run from the start; each can be turned on and off in the UI as well."""
    on_unpriced: Literal["skip", "error"]
    month_closes_after_days: Annotated[int, msgspec.Meta(ge=0, le=366)]
    """Days after its end from which a month is closed, so that its figures can be locked."""
    journal_compact_rows: _Count
    """Rows in journal segments after which they are compacted."""
    snapshot_top_n: Annotated[int, msgspec.Meta(ge=1, le=1_000)]
    """Entries in each "top" list of the UI snapshot."""
    retention_runs_count: _Count
    """How many of each kind `tokenledger retention` leaves, the latest ones."""
    retention_reconcile_count: _Count
    retention_bench_count: _Count
    retention_answers_count: _Count
    retention_aggregates_count: _Count
    retention_runs_days: _Days
    """How old, in days, the oldest of each kind may be that it leaves."""
    retention_reconcile_days: _Days
    retention_bench_days: _Days
    retention_answers_days: _Days
    retention_aggregates_days: _Days
    features: Features

    def feature(self, name: str) -> bool:
        """Whether the feature of this dotted name is switched on; one that is `auto` is not, by the settings alone.

        Raises:
            SettingsError: no such feature.
        """
        field = name.replace(".", "_")
        if field not in Features.__struct_fields__:
            raise SettingsError(f"feature {name!r} does not exist; use one of {', '.join(_names(Features))}")
        return getattr(self.features, field) in (True, "true")


class _Given(NamedTuple):
    """A value as somebody wrote it, and where."""

    value: object
    source: str
    is_text: bool = False
    """From the environment, where every value is text."""


def load_settings(environ: Mapping[str, str] | None = None, config_path: Path | None = None) -> Settings:
    """Read the settings of this run; the caller keeps them.

    Args:
        environ: variables to read instead of the process's own. An empty value counts as not set.
        config_path: a YAML file whose keys replace the defaults; keys it leaves out keep theirs.

    Raises:
        SettingsError: a file or variable cannot be used; the message names it, the value and the remedy.
    """
    variables = os.environ if environ is None else environ
    general, features = _from_file(DEFAULT_CONFIG)
    if config_path is not None:
        own_general, own_features = _from_file(config_path)
        general |= own_general
        features |= own_features
    general |= _from_environment(variables)
    features |= _features_from_environment(variables)
    if general["home"].value is None:
        general["home"] = _Given(_platform_home(), "the platform's user data folder")
    settings = Settings(**_checked(Settings, general), features=Features(**_checked(Features, features)))
    if settings.timezone is not None:
        _check_zone(settings.timezone, general["timezone"].source)
    return settings


def is_automatic(environ: Mapping[str, str] | None = None) -> bool:
    """Return the setting `automation` alone, without reading any file.

    Raises:
        SettingsError: the variable is neither true nor false.
    """
    text = (os.environ if environ is None else environ).get("TOKENLEDGER_AUTOMATION")
    found = _Given(text, "TOKENLEDGER_AUTOMATION", is_text=True) if text else None
    return settings_defaults.DEFAULTS["automation"] is True if found is None else bool(_convert(found, bool))


def _from_file(path: Path) -> tuple[dict[str, _Given], dict[str, _Given]]:
    """The general settings and the features that a YAML file gives."""
    # a copy of the defaults saves the reader's import, which costs more than all other settings
    general = copy_of_defaults() if path == DEFAULT_CONFIG and settings_defaults.are_current() else read_yaml(path)
    features = general.pop("features", None) or {}
    if not isinstance(features, dict):
        raise SettingsError(f"{path}: features is {features!r}; make it a list of `name: true` or `name: false` lines")
    for given, known in ((general, _names(Settings)), (features, _names(Features))):
        for name in given:
            if name not in known:
                raise SettingsError(f"{path}: {name!r} is no setting; remove it or use one of {', '.join(known)}")
    return (
        {name: _Given(value, f"{path}: {name}") for name, value in general.items()},
        {name: _Given(value, f"{path}: features: {name}") for name, value in features.items()},
    )


def copy_of_defaults() -> dict[str, Any]:
    """What `read_yaml` makes of the default file, from the generated copy."""
    return {**settings_defaults.DEFAULTS, "features": dict(settings_defaults.FEATURES)}


def read_yaml(path: Path) -> dict[str, Any]:
    """The top level of a YAML file.  Raises SettingsError where it cannot be read or is no mapping."""
    import yaml  # costs more than the rest of this module: only who loads settings pays

    # the C loader is in every published wheel; a PyYAML built without libyaml has only the other one
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        loaded = yaml.load(path.read_bytes(), Loader=loader)
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path}: cannot be read as settings ({reason}); mend it or leave it out") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(f"{path}: holds no settings; write `name: value` lines")
    return loaded


def _from_environment(variables: Mapping[str, str]) -> dict[str, _Given]:
    names = (name for name in _names(Settings) if name != "features")
    texts = ((name, _ENV + name.upper()) for name in names)
    return {name: _Given(variables[key], key, is_text=True) for name, key in texts if variables.get(key)}


def _features_from_environment(variables: Mapping[str, str]) -> dict[str, _Given]:
    known = {_FEATURE_ENV + name.replace(".", "_").upper(): name for name in _names(Features)}
    given = {}
    for key, text in variables.items():
        if key.startswith(_FEATURE_ENV) and text:
            if key not in known:
                raise SettingsError(f"{key}={text!r} switches no feature; unset it or use one of {', '.join(known)}")
            given[known[key]] = _Given(text, key, is_text=True)
    return given


def _names(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The public names of a struct's fields, dotted for features."""
    return struct.__struct_encode_fields__


def _checked(struct: type[msgspec.Struct], given: Mapping[str, _Given]) -> dict[str, Any]:
    """Values of the right types by attribute name, each judged alone so that the error can name its source."""
    return {
        field.name: _convert(given[field.encode_name], field.type)
        for field in msgspec.structs.fields(struct)
        if field.encode_name != "features"
    }


def _convert(given: _Given, wanted: Any) -> Any:
    value = _switched(given) if wanted == Switch else given.value
    try:
        return msgspec.convert(value, wanted, strict=not given.is_text, dec_hook=_to_path)
    except msgspec.ValidationError as error:
        choices = ("true", "false") if wanted is bool else [str(value) for value in get_args(wanted)]
        is_choice = wanted is bool or getattr(wanted, "__origin__", None) is Literal
        problem = f"use one of {', '.join(choices)}" if is_choice else f"{error}; change it"
        raise SettingsError(f"{given.source}={given.value!r} cannot be used: {problem}, or leave it out") from error


def _switched(given: _Given) -> object:
    """What a switch was set to, a boolean in all the ways in which one is written as its word."""
    try:
        return "true" if msgspec.convert(given.value, bool, strict=not given.is_text) else "false"
    except msgspec.ValidationError:
        return given.value


def _to_path(wanted: type, value: object) -> Path:
    if wanted is not Path or not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("Expected the path of a folder")
    return Path(value).expanduser().absolute()


def _platform_home() -> str:
    known = default_root()
    if known is not None:
        return known
    import platformdirs  # only for a person with no TOKENLEDGER_HOME on a platform of its own ways

    return platformdirs.user_data_dir("tokenledger", appauthor=False)


def _check_zone(name: str, source: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # unknown; not a plain name; a folder of names such as "America"
        remedy = 'use an IANA name such as "Europe/Berlin", or leave it out for the system\'s zone'
        raise SettingsError(f"{source}={name!r} is no time zone: {remedy}") from error

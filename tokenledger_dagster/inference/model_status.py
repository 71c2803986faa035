"""How the model of a home stands, told without loading it or reading its weights.

Here: what `tokenledger models status` and `doctor` say. Not here: whether the files are what they should be
(`verification`).
"""

from __future__ import annotations

from typing import Literal

from tokenledger_dagster.contracts.inference import FetchedFiles, StatusReport
from tokenledger_dagster.errors import TokenLedgerError
from tokenledger_dagster.home import Home
from tokenledger_dagster.inference.clock import utc_stamp
from tokenledger_dagster.inference.fetch import fetched_record
from tokenledger_dagster.inference.manifest import digest_of, read_manifest
from tokenledger_dagster.inference.model_card import ModelCard
from tokenledger_dagster.inference.model_folder import Manifest
from tokenledger_dagster.inference.model_store import folder_bytes
from tokenledger_dagster.inference.switch import model_folder, requested_backend, standing
from tokenledger_dagster.settings import Settings

__all__ = ["model_status"]


def model_status(home: Home, settings: Settings, card: ModelCard) -> StatusReport:
    """What is there, whether it is on, and what it may read.

    Args:
        home: whose model.
        settings: the switches.
        card: the model as this program knows it.
    """
    folder, found = model_folder(home), standing(home, settings)
    fetched = fetched_record(folder)
    manifest: Manifest | None = None
    problem = ""
    if found.model is not None:
        try:
            manifest = read_manifest(found.model)
            gone = [name for name in manifest.files if not (folder.root / name).is_file()]
            if gone:
                problem = f"{folder.root / gone[0]}: is not there; build it again with `tokenledger models build`"
        except TokenLedgerError as error:
            problem = str(error)
    state: Literal["absent", "fetched", "built", "damaged"]
    state = "damaged" if problem else "built" if manifest else "fetched" if fetched else "absent"
    license_, attribution = card.license, card.attribution
    if manifest is not None:
        license_, attribution = manifest.license, manifest.attribution
    elif fetched is not None and not fetched.pinned:
        license_, attribution = "unknown", fetched.source
    return StatusReport(
        generated_at=utc_stamp(),
        model=manifest.model if manifest else _named(card, fetched),
        folder=str(folder.root),
        state=state,
        on=found.on,
        why=found.why,
        turn_on=found.remedy,
        requested_backend=requested_backend(settings),
        prompts=found.prompts,
        store_prompts=found.store_prompts,
        source=manifest.source if manifest else fetched.source if fetched else None,
        license=license_,
        attribution=attribution,
        data_version=digest_of(manifest) if manifest else None,
        bytes=folder_bytes(folder.root),
        problem=problem,
    )


def _named(card: ModelCard, fetched: FetchedFiles | None) -> str:
    """The model that a build would make of what was fetched."""
    return card.name if fetched is None or fetched.pinned else f"{card.name} (unpinned)"

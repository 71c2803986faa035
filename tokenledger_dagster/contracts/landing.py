"""What `tokenledger proxy land` says it did.

Here: the shape of its summary.  Not here: landing.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class LandingSummary(msgspec.Struct, kw_only=True):
    """One run of the lander."""

    schema_version: int = 1
    generated_at: datetime
    url: str
    folder: str
    busy: bool = False
    """Another process lands into the same folder: nothing was asked."""
    answers: int = 0
    """Answers of the proxy, empty ones too."""
    landed: int = 0
    """Records of requests written down."""
    unknown: int = 0
    """Objects nobody understands yet, written down without their text."""
    known: int = 0
    """Details of an export that were landed before."""
    control_messages: int = 0
    unreadable: int = 0
    """Elements that are no objects: their length and digest are written down."""
    cut_answers: int = 0
    """Answers that broke off; what of them was complete is landed."""
    retries: int = 0
    bytes_written: int = 0

"""The name the system gives its time zone, unchecked.

Here: reading the name.  Not here: whether there is such a zone, and its days (``ingest.zones``): that costs an import
which a report in the zone of the stored cells does not need.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def named_zone(environ: Mapping[str, str]) -> str:
    """The name in ``TZ``, else where the /etc/localtime link leads, else UTC."""
    name = environ.get("TZ", "").lstrip(":")
    if not name:
        name = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
        for prefix in ("posix/", "right/"):
            name = name.removeprefix(prefix)
    return "UTC" if name in ("", "Etc/UTC") else name

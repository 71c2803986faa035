"""Quarter hours since 1970 UTC: the finest stretch of time that sums are kept by.

Every time zone's days and hours begin on one (``ingest.zones``).  Light: see ``cli.warm``.
"""

SLOT_US = 900_000_000

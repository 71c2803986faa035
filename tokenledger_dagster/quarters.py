"""Quarter hours since 1970 UTC: the finest stretch of time that sums are kept by.

Offsets change on one at the finest, in every zone of the last fifty years, so that days and hours begin
on one.  Light: see ``cli.warm``.
"""

SLOT_US = 900_000_000

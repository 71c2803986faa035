"""TokenLedger: a local-first ledger of what AI coding agents used and what it cost.

Only the version lives here. Importing the package must stay free: every command of the CLI pays for this file.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

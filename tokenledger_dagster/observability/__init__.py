"""What the program tells about itself while it runs: metrics, behind an interface with a default that does nothing.

Belongs here: names (`names.py`), the interface and its backends (`metrics.py`). Does not belong here: figures about a
person's usage, which are the ledger's own artifacts.
"""

"""What leaves the ledger: tables, the analyst database, the UI snapshot, run summaries and pictures.

Here: one module per artifact, each written aside and renamed.  Not here: what the artifacts look like (``contracts``),
or whether they are right (``governance``).
"""

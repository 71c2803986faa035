"""Generated, committed artifacts, diff-checked by the tests and never edited by hand.

Here: CSV and SQL files and their README. Not here: the code that makes them (`tokenledger_dagster/models/`).
"""

"""The ``tokenledger`` command: one module per command group.

Here: arguments, output and exit codes.  Not here: anything a library user would want to call.  Read commands import
neither dagster nor pandas, and a report on unchanged logs no engine at all.
"""

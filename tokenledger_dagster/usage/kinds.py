"""The kinds of reports, by name.  Light: a report that is only printed once more needs no more than these."""

KINDS = ("daily", "weekly", "monthly", "session", "project", "model", "client", "block")
"""In the order of the command's help; ``usage.report`` has what each groups by."""

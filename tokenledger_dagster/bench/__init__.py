"""Measuring this program on made-up logs: how fast, how much memory, and whether every figure is exact.

Here: the log generator with its truth, measured processes, scenarios, the profile, the growth chart.  Not here: the
shape of results (``contracts.bench``) or arguments (``cli.bench``).
"""

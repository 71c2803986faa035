"""Measuring this program on made-up logs: how fast, how much memory, and whether every figure is exact.

Here: the log generator with its truth, measured processes, scenarios, the profile, the growth chart, the perf gate and
the trend.  Not here: the shape of results (``contracts.bench``, ``contracts.perf``) or arguments (``cli.bench``).
"""

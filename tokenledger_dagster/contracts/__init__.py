"""Public shapes, one module each.

Here: the types, column lists and schema versions that other programs may rely on.  Not here: anything that reads,
computes or writes them.  Changes are additive; see ``docs/contracts/``.
"""

"""Programs that hand usage to TokenLedger: what is expected of each, and whether a file keeps to it.

Here: one module per feeder with ``validate(path) -> FeederReport``, and the list of them (``registry``).  Not here: how
their records become events (``clients``), or how they are landed (``landing``).
"""

"""How many tokens a text has, where no provider counted them.

Here: the estimator, what it is fitted on, and the table of sessions whose log has text but no counts. Not here:
tokenizers (`tokenization`), which need a vocabulary that vendors do not publish.

An estimate says by which method it was made, how far it is expected to be off, and how many samples stand behind that.
It never enters booked events, prices or totals.
"""

"""From log files to booked events: discover, fingerprint, scan, commit, book.

Here: everything between the bytes of a log and the state a report is answered from.  Not here: a client's own format
(``clients``), prices (``pricing``) or tables for analysts (``exports``).
"""

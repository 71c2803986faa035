"""Landing: records that exist only for a moment are written down before anything else happens to them.

Here: asking a proxy for its queue, taking secrets out of what it answers, and appending that to files of the home.  Not
here: what the records mean (``clients``), or booking them (``ingest``), which reads the landed files like any log.
"""

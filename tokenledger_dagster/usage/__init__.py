"""Reports: usage summed by day, week, month, session, project, model, client or 5-hour block.

Here: selections and rollups answered from the manifest alone, without heavy imports.  Not here: tables for analysts
(``exports``), output formats (``cli.output``).
"""

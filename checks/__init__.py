"""What must hold of the tables and the published files, as asset checks that can each be run alone.

Here: one `multi_asset_check` per table or group that reads its data once. A check's name is a property, its description
the consequence of a breach; it blocks where wrong data would spread. Not here: the properties themselves
(`tokenledger_dagster/governance`), the contracts of tables (`tokenledger_dagster/contracts`).
"""

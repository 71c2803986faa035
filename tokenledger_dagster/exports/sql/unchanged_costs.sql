-- Costs of the months that were priced just now, and those of all others as they stand in costs, a Parquet file.
SELECT * FROM ({priced})
UNION ALL BY NAME
SELECT * FROM read_parquet({costs}) WHERE strftime(timestamp, '%Y-%m') IN ({months})

-- The sums that every usage table must have.
SELECT {sums} FROM read_parquet({table})

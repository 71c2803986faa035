-- Rows of the unified ledger by provider: what its names and benchmarks give, no prices, which change with the day.
SELECT
    coalesce(inferred_provider, '') AS provider,
    count(*) AS row_count,
    count(*) FILTER (is_canonical) AS canonical_count,
    CAST(sum(benchmark_rows_non_missing) AS BIGINT) AS benchmark_count
FROM read_parquet({ledger})
GROUP BY provider
ORDER BY provider

-- Records that were not booked, by rule.
SELECT rule, count(*) AS record_count, CAST(sum(total_tokens) AS BIGINT) AS total_tokens
FROM read_parquet({duplicates})
GROUP BY rule
ORDER BY rule

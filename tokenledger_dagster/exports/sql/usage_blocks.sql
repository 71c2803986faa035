-- `block_hours` says which block every hour with events falls into (see exports/blocks.py).
SELECT
    b.block_start, b.block_start + INTERVAL 5 HOURS AS block_end, client, provider,
    min(first_time) AS first_time, max(last_time) AS last_time,
    {sums}
FROM usage_hours
JOIN block_hours AS b USING (hour)
GROUP BY b.block_start, client, provider

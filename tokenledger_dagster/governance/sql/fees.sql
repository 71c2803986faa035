-- Parts of fees whose shares do not add up.  costs and plans are Parquet files.
WITH carried AS (
    SELECT subscription, strftime(timestamp, '%Y-%m') AS month, sum(subscription_allocated_usd) AS carried_usd
    FROM read_parquet({costs})
    WHERE subscription IS NOT NULL
    GROUP BY ALL
),
fees AS (
    SELECT
        subscription, month, sum(fee_usd) AS fee_usd, sum(allocated_usd) AS allocated_usd, sum(idle_usd) AS idle_usd
    FROM read_parquet({plans})
    GROUP BY ALL
)
SELECT subscription, month, fee_usd, allocated_usd, idle_usd, carried_usd
FROM fees
FULL JOIN carried USING (subscription, month)
WHERE coalesce(fee_usd, 0) <> coalesce(allocated_usd, 0) + coalesce(idle_usd, 0)
    OR coalesce(allocated_usd, 0) <> coalesce(carried_usd, 0)
ORDER BY month, subscription

-- Months whose days do not add up to them, by client, provider and model.
WITH days AS (
    SELECT strftime(day, '%Y-%m') AS month, client, provider, model, maker, {sums}
    FROM read_parquet({daily}) GROUP BY ALL
),
months AS (
    SELECT month, client, provider, model, maker, {sums} FROM read_parquet({monthly}) GROUP BY ALL
),
differing AS (
    (SELECT 'days' AS side, * FROM days EXCEPT SELECT 'days', * FROM months)
    UNION ALL
    (SELECT 'month' AS side, * FROM months EXCEPT SELECT 'month', * FROM days)
)
SELECT month, client, provider, model, maker, side, total_tokens, list_price_usd, event_count
FROM differing
ORDER BY month, client, provider, model, maker, side

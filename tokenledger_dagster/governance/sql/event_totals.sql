-- The same sums from the events and their costs.
SELECT
    {sums},
    coalesce(sum(c.list_price_usd), 0) AS list_price_usd,
    coalesce(sum(c.effective_cost_usd), 0) AS effective_cost_usd,
    coalesce(sum(e.total_tokens) FILTER (c.list_price_usd IS NULL), 0) AS unpriced_tokens,
    count(*) FILTER (c.list_price_usd IS NULL) AS unpriced_count,
    count(*) AS event_count
FROM read_parquet({events}) AS e
JOIN read_parquet({costs}) AS c USING (event_id)

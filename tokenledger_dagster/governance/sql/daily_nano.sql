-- usage_daily as the manifest's cells count: days since 1970, nano-USD.
SELECT
    CAST(day - DATE '1970-01-01' AS BIGINT), client, provider, model, coalesce(maker, ''), event_count, {counters},
    CAST(CAST(list_price_usd AS DECIMAL(38, 9)) * 1000000000 AS HUGEINT), unpriced_count, unpriced_tokens
FROM read_parquet({daily})

-- Names of booked requests that were not recognised for certain, by client; {events} is a Parquet file.
SELECT
    client,
    model_raw,
    provider,
    any_value(model ORDER BY model) AS model,
    any_value(maker ORDER BY maker) AS maker,
    arg_max(mapping_rule, timestamp) AS rule,
    max(mapping_confidence) AS confidence,
    count(*) AS events,
    CAST(sum(total_tokens) AS BIGINT) AS tokens,
    CAST(min(timestamp) AS DATE) AS first_day,
    CAST(max(timestamp) AS DATE) AS last_day
FROM read_parquet({events})
WHERE mapping_confidence < {below} AND trim(model_raw) <> '' AND model <> '<synthetic>'
GROUP BY client, model_raw, provider
ORDER BY client, model_raw, provider

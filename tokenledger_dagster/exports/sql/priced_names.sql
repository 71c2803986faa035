-- Each distinct way a request is named; Python resolves them into `named` (see exports/costs.py).
SELECT DISTINCT client, model_raw, service_tier, speed, upstream, message_prefix, utc_day, CAST(epoch_us(utc_day) AS BIGINT)
FROM price_facts

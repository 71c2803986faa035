-- `plan_months` holds pricing.economics.PlanMonth; nano-USD turned into USD.
SELECT
    subscription, nullif(plan, '') AS plan, provider, pricing_mode, weight_method,
    strftime(segment_start, '%Y-%m') AS month, period_start, period_end, segment_start, segment_end, is_complete, seats,
    fee_nano * nano AS fee_usd,
    allocated_nano * nano AS allocated_usd,
    idle_nano * nano AS idle_usd,
    list_nano * nano AS list_price_usd,
    overage_nano * nano AS overage_usd,
    leverage, utilisation, event_count, total_tokens, unpriced_tokens,
    flags
FROM (SELECT *, CAST(0.000000001 AS DECIMAL(10, 9)) AS nano FROM plan_months)

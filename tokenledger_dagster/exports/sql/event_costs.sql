-- Cost of every event in token mode; plans are spread by plan_costs.sql.  What is put in is pricing/price_events.sql
-- over `events` and `resolved_rates`; what confidence and basis mean is pricing.events.price_event's rule, said again in SQL.
WITH priced AS MATERIALIZED (
    {price_events}
),
-- the same requests as if they had asked for no speed, tier or batch; what these add or save is the difference
standard AS MATERIALIZED (
    WITH events AS (
        SELECT * REPLACE (plain_context AS requested_context) FROM temp.events WHERE plain_context <> requested_context
    )
    SELECT * FROM ({price_events})
),
judged AS (
    SELECT
        e.event_id, e.timestamp, e.client, e.billed_by AS provider, e.canonical_model AS model, e.channel,
        e.total_tokens, e.requested_context, e.model AS rate_model, e.price_snapshot_id,
        p.list_price_nano, p.priced_context, p.list_basis AS rate_basis, p.layer, p.source,
        p.rate_confidence IS NOT NULL AS has_rate,
        CASE WHEN e.usable THEN least(e.name_confidence, coalesce(p.rate_confidence, 100)) ELSE 0 END AS confidence,
        e.reason,
        -- nano-USD to USD without leaving the integers
        CAST(p.list_price_nano * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(18, 9)) AS list_price_usd,
        if(e.plain_context = e.requested_context, p.list_price_nano, s.list_price_nano) AS standard_nano
    FROM events AS e
    JOIN priced AS p USING (event_id)
    LEFT JOIN standard AS s USING (event_id)
)
SELECT
    event_id, timestamp, client, provider, model, channel, total_tokens,
    list_price_usd,
    list_price_usd AS variable_cost_usd,
    0 AS subscription_allocated_usd,
    list_price_usd AS effective_cost_usd,
    CASE WHEN has_rate THEN if(confidence <= {maker_cap}, 'maker', rate_basis) END AS list_basis,
    'token' AS pricing_mode,
    price_snapshot_id,
    confidence AS price_confidence,
    requested_context,
    priced_context,
    CASE WHEN list_price_nano IS NULL THEN if(has_rate, 'overflow', reason) END AS unpriced_reason,
    CASE WHEN has_rate THEN layer END AS rate_layer,
    CASE WHEN has_rate THEN rate_model END AS rate_model,
    CASE WHEN has_rate THEN source END AS rate_source,
    CAST(NULL AS VARCHAR) AS subscription,
    CAST(standard_nano * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(18, 9)) AS standard_list_price_usd
FROM judged

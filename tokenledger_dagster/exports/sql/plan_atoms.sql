-- `priced_rows` hold list prices; events is a Parquet file.  `plan_events` joins both, `plan_atoms` sums them by
-- pricing.economics.Atom: quarter hour, session, model name and kind of billing.
CREATE OR REPLACE TEMP TABLE plan_events AS
SELECT
    p.event_id,
    -- rounded down, before 1970 too
    CAST((epoch_us(p.timestamp) - ((epoch_us(p.timestamp) % 900000000) + 900000000) % 900000000) // 900000000 AS BIGINT)
        AS slot,
    e.client, e.session_id, coalesce(e.model_raw, '') AS model_raw, coalesce(e.upstream, '') AS upstream,
    coalesce(e.billing_kind, '') AS billing_kind, coalesce(e.account_hash, '') AS account_hash,
    coalesce(e.reported_cost_usd > 0, false) AS is_reported, e.is_estimated,
    p.provider, p.model, p.total_tokens,
    p.list_price_usd IS NULL AS is_unpriced,
    CAST(coalesce(CAST(p.list_price_usd AS DECIMAL(38, 9)), 0) * 1000000000 AS HUGEINT) AS list_nano,
    CAST(greatest(coalesce(CAST(e.reported_cost_usd AS DECIMAL(38, 9)), 0), 0) * 1000000000 AS HUGEINT) AS reported_nano
FROM priced_rows AS p
JOIN read_parquet({events}) AS e USING (event_id);

CREATE OR REPLACE TEMP TABLE plan_atoms AS
SELECT
    row_number() OVER () - 1 AS atom_no,
    slot, client, session_id, model_raw, upstream, billing_kind, account_hash, is_reported, is_estimated,
    any_value(provider) AS provider, any_value(model) AS model,
    count(*) AS event_count, count(*) FILTER (is_unpriced) AS unpriced_count,
    CAST(sum(total_tokens) AS BIGINT) AS total_tokens,
    CAST(coalesce(sum(total_tokens) FILTER (is_unpriced), 0) AS BIGINT) AS unpriced_tokens,
    CAST(sum(list_nano) AS HUGEINT) AS list_nano, CAST(sum(reported_nano) AS HUGEINT) AS reported_nano
FROM plan_events
GROUP BY slot, client, session_id, model_raw, upstream, billing_kind, account_hash, is_reported, is_estimated

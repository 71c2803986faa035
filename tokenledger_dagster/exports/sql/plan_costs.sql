-- Costs of events from those of their quarter hours: shares are whole nano-USD by largest remainder, ties to the
-- smaller event id, as pricing.periods.apportion divides.
WITH weighed AS (
    SELECT
        e.event_id, a.atom_no, e.is_unpriced, e.list_nano, e.reported_nano,
        c.variable_nano, c.variable_by, c.allocated_nano, c.pricing_mode, c.subscription,
        CASE c.method
            WHEN 'list_price'
                THEN e.list_nano * 1000000 + if(e.is_unpriced, CAST(e.total_tokens AS HUGEINT) * c.median_nano, 0)
            WHEN 'tokens' THEN CAST(e.total_tokens AS HUGEINT)
            ELSE CAST(1 AS HUGEINT)
        END AS weight
    FROM plan_events AS e
    JOIN plan_atoms AS a USING (
        slot, client, session_id, model_raw, upstream, billing_kind, account_hash, is_reported, is_estimated
    )
    JOIN atom_costs AS c USING (atom_no)
),
totalled AS (
    SELECT
        *,
        CAST(sum(weight) OVER atom AS HUGEINT) AS weights,
        CAST(sum(list_nano) OVER atom AS HUGEINT) AS lists,
        CAST(count(*) OVER atom AS HUGEINT) AS members
    FROM weighed
    WINDOW atom AS (PARTITION BY atom_no)
),
shares AS (
    SELECT
        *,
        -- where all weights are 0 the parts are equal
        allocated_nano * if(weights = 0, 1, weight) AS of_fee, if(weights = 0, members, weights) AS fee_parts,
        variable_nano * if(lists = 0, 1, list_nano) AS of_variable, if(lists = 0, members, lists) AS variable_parts
    FROM totalled
),
divided AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY atom_no ORDER BY of_fee % fee_parts DESC, event_id) AS fee_rank,
        allocated_nano - CAST(sum(of_fee // fee_parts) OVER (PARTITION BY atom_no) AS HUGEINT) AS fee_left,
        row_number() OVER (PARTITION BY atom_no ORDER BY of_variable % variable_parts DESC, event_id) AS variable_rank,
        variable_nano - CAST(sum(of_variable // variable_parts) OVER (PARTITION BY atom_no) AS HUGEINT) AS variable_left
    FROM shares
),
costed AS (
    SELECT
        event_id, pricing_mode, subscription,
        CASE variable_by
            WHEN 'nothing' THEN CAST(0 AS HUGEINT)
            WHEN 'reported' THEN reported_nano
            WHEN 'list' THEN if(is_unpriced, NULL, list_nano)
            ELSE if(is_unpriced, NULL, of_variable // variable_parts + if(variable_rank <= variable_left, 1, 0))
        END AS variable,
        of_fee // fee_parts + if(fee_rank <= fee_left, 1, 0) AS allocated
    FROM divided
)
SELECT
    p.* REPLACE (
        CAST(c.variable * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(18, 9)) AS variable_cost_usd,
        CAST(c.allocated * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(18, 9)) AS subscription_allocated_usd,
        CAST((c.variable + c.allocated) * CAST(0.000000001 AS DECIMAL(10, 9)) AS DECIMAL(18, 9)) AS effective_cost_usd,
        c.pricing_mode AS pricing_mode,
        c.subscription AS subscription
    )
FROM priced_rows AS p
JOIN costed AS c USING (event_id)

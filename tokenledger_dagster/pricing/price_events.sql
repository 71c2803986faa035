-- List price of every event in `events`, in nano-USD, from the rates in `resolved_rates` (see resolve.py).
-- events: event_id, provider, channel, model, requested_context, bucket, input_tokens, cache_read_tokens,
--         cache_write_5m_tokens, cache_write_1h_tokens, output_tokens, tool_input_tokens, tool_output_tokens, is_sum;
--         counters are never null.
-- list_price_nano is null when no rate row joins or the price does not fit a BIGINT; 0 when no token was counted.
WITH matched AS (
    SELECT
        e.event_id,
        r.channel IS NOT NULL AS has_rate,
        r.list_basis,
        r.confidence AS rate_confidence,
        r.priced_context,
        e.input_tokens::HUGEINT AS n_input,
        e.cache_read_tokens::HUGEINT AS n_read,
        e.cache_write_5m_tokens::HUGEINT AS n_write_5m,
        e.cache_write_1h_tokens::HUGEINT AS n_write_1h,
        e.output_tokens::HUGEINT AS n_output,
        e.tool_input_tokens::HUGEINT AS n_tool_input,
        e.tool_output_tokens::HUGEINT AS n_tool_output,
        n_input + n_tool_input + n_read + n_write_5m + n_write_1h AS prompt,
        -- a step on the whole request, never on the tokens above the threshold, nor on several requests together
        NOT e.is_sum AND coalesce(
            prompt > r.tier_from_tokens OR (r.tier_inclusive AND prompt = r.tier_from_tokens), false
        ) AS high,
        if(high, r.input_high, r.input) AS rate_input,
        if(high, r.cache_read_high, r.cache_read) AS rate_read,
        if(high, r.cache_write_5m_high, r.cache_write_5m) AS rate_write_5m,
        if(high, r.cache_write_1h_high, r.cache_write_1h) AS rate_write_1h,
        if(high, r.output_high, r.output) AS rate_output,
        if(high, r.tool_input_high, r.tool_input) AS rate_tool_input,
        if(high, r.tool_output_high, r.tool_output) AS rate_tool_output,
        r.layer, r.source
    FROM events AS e
    LEFT JOIN resolved_rates AS r
        ON r.channel = e.channel
        AND r.model = e.model
        AND r.requested_context = e.requested_context
        AND r.bucket = e.bucket
        AND r.provider = e.provider
),
multiplied AS (
    SELECT
        *,
        n_input * rate_input + n_read * rate_read + n_write_5m * rate_write_5m
            + n_write_1h * rate_write_1h + n_output * rate_output
            + n_tool_input * rate_tool_input + n_tool_output * rate_tool_output AS scaled,
        -- per million tokens: one division, rounded half to even
        scaled // 1000000 AS whole,
        2 * (scaled % 1000000) AS twice_rest
    FROM matched
)
SELECT
    event_id,
    CASE
        WHEN prompt + n_output + n_tool_output = 0 THEN 0::BIGINT
        WHEN has_rate
            THEN try_cast(
                whole + if(twice_rest > 1000000 OR (twice_rest = 1000000 AND whole % 2 = 1), 1, 0) AS BIGINT
            )
    END AS list_price_nano,
    list_basis,
    rate_confidence,
    priced_context,
    layer,
    source
FROM multiplied

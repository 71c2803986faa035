-- DuckDB: sessions that read less of their prompt from the cache than the median of those they are compared with.
-- A session's first request has nothing to read and is left out.  Shares are millionths, rounded down.
CREATE OR REPLACE TEMP TABLE followers AS
SELECT *
FROM requests
WHERE in_period AND NOT is_sum AND list_nano IS NOT NULL
QUALIFY row_number() OVER (PARTITION BY client, provider, model, session_id ORDER BY request_no) > 1;

CREATE OR REPLACE TEMP TABLE reuse AS
SELECT
    client, provider, model, session_id,
    CAST(sum(prompt_tokens) AS HUGEINT) AS prompt, CAST(sum(cache_read_tokens) AS HUGEINT) AS read,
    read * 1000000 // prompt AS millionths
FROM followers
GROUP BY client, provider, model, session_id
HAVING count(*) + 1 >= getvariable('minimum_session_requests')
    AND sum(prompt_tokens) >= greatest(getvariable('minimum_session_prompt_tokens'), 1);

CREATE OR REPLACE TEMP TABLE found_groups AS
WITH medians AS (
    SELECT client, provider, model, quantile_disc(millionths, 0.5) AS median, count(*) AS compared_sessions
    FROM reuse
    GROUP BY client, provider, model
    HAVING count(*) >= getvariable('minimum_sessions')
)
SELECT
    row_number() OVER (ORDER BY m.client, m.provider, m.model) AS group_no, m.client, m.provider, m.model, '' AS detail,
    any_value(m.median) AS median, any_value(m.compared_sessions) AS compared_sessions,
    CAST(sum(r.read) * 1000000 // sum(r.prompt) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(18, 6)) AS read_share,
    CAST(any_value(m.median) * CAST(0.000001 AS DECIMAL(7, 6)) AS DECIMAL(18, 6)) AS median_read_share
FROM medians AS m
JOIN reuse AS r USING (client, provider, model)
WHERE r.millionths < m.median - CAST(1000000 * getvariable('gap_share') AS BIGINT)
GROUP BY m.client, m.provider, m.model;

INSERT INTO changed
WITH moved AS (
    SELECT
        g.group_no, f.*,
        -- of the session's missing reads its requests take parts by what they did not read
        CAST((g.median * r.prompt // 1000000 - r.read) * (f.prompt_tokens - f.cache_read_tokens) // (r.prompt - r.read) AS BIGINT) AS more
    FROM followers AS f
    JOIN reuse AS r USING (client, provider, model, session_id)
    JOIN found_groups AS g USING (client, provider, model)
    WHERE r.millionths < g.median - CAST(1000000 * getvariable('gap_share') AS BIGINT)
),
taken AS (
    SELECT
        *,
        least(input_tokens, more) AS of_input,
        least(cache_write_5m_tokens, more - of_input) AS of_5m,
        more - of_input - of_5m AS of_1h
    FROM moved
)
SELECT
    row_number() OVER (), group_no, request_no, channel, lookup_provider, rate_model, requested_context, bucket, is_sum,
    input_tokens - of_input, cache_read_tokens + more, cache_write_5m_tokens - of_5m, cache_write_1h_tokens - of_1h,
    output_tokens, tool_input_tokens, tool_output_tokens
FROM taken

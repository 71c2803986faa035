-- DuckDB: 1-hour writes after which the same session and model read nothing from a cache within the hour, as 5-minute
-- writes.  An hour that is not over before judged_until proves nothing.
CREATE OR REPLACE TEMP TABLE hours AS
WITH ordered AS (
    SELECT
        *,
        first_value(if(cache_read_tokens > 0, timestamp, NULL) IGNORE NULLS) OVER (
            session_order ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING
        ) AS next_read,
        lag(timestamp) OVER session_order AS previous
    FROM requests
    WINDOW session_order AS (PARTITION BY client, provider, model, session_id ORDER BY request_no)
)
SELECT
    * EXCLUDE (next_read, previous),
    list_nano IS NOT NULL AND cache_write_1h_tokens > 0
        AND timestamp + INTERVAL 1 HOUR <= getvariable('judged_until')
        AND coalesce(next_read > timestamp + INTERVAL 1 HOUR, true) AS is_unread,
    if(
        timestamp > previous + INTERVAL 5 MINUTE AND timestamp <= previous + INTERVAL 1 HOUR, cache_read_tokens, 0
    ) AS late_read
FROM ordered
WHERE in_period;

CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT
    row_number() OVER (ORDER BY client, provider, model) AS group_no, client, provider, model, '' AS detail,
    CAST(sum(cache_write_1h_tokens) FILTER (is_unread) AS BIGINT) AS unread_write_tokens,
    CAST(sum(cache_write_1h_tokens) AS BIGINT) AS one_hour_write_tokens,
    CAST(sum(late_read) AS BIGINT) AS late_read_tokens
FROM hours
GROUP BY client, provider, model
HAVING bool_or(is_unread);

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, r.rate_model, r.requested_context,
    r.bucket, r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens + r.cache_write_1h_tokens, 0,
    r.output_tokens, r.tool_input_tokens, r.tool_output_tokens
FROM hours AS r
JOIN found_groups AS g USING (client, provider, model)
WHERE r.is_unread

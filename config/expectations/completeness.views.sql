WITH sums AS (
    SELECT 'usage_daily' AS view, sum(event_count) AS event_count, sum(total_tokens) AS total_tokens FROM usage_daily
    UNION ALL SELECT 'usage_weekly', sum(event_count), sum(total_tokens) FROM usage_weekly
    UNION ALL SELECT 'usage_monthly', sum(event_count), sum(total_tokens) FROM usage_monthly
    UNION ALL SELECT 'usage_sessions', sum(event_count), sum(total_tokens) FROM usage_sessions
    UNION ALL SELECT 'usage_projects', sum(event_count), sum(total_tokens) FROM usage_projects
    UNION ALL SELECT 'usage_models', sum(event_count), sum(total_tokens) FROM usage_models
    UNION ALL SELECT 'usage_clients', sum(event_count), sum(total_tokens) FROM usage_clients
    UNION ALL SELECT 'usage_blocks', sum(event_count), sum(total_tokens) FROM usage_blocks
)
SELECT
    view,
    CAST(coalesce(event_count, 0) AS BIGINT) AS event_count,
    CAST((SELECT count(*) FROM events) AS BIGINT) AS expected_event_count,
    CAST(coalesce(sums.total_tokens, 0) AS BIGINT) AS total_tokens,
    CAST((SELECT coalesce(sum(total_tokens), 0) FROM events) AS BIGINT) AS expected_total_tokens
FROM sums
ORDER BY view

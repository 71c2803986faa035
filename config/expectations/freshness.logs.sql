-- log_files holds the logs that are there, with the time of their last change.
WITH latest AS (
    SELECT client, max(timestamp) AS latest_event FROM events GROUP BY client
),
logs AS (
    SELECT
        client,
        max(epoch(changed) - epoch(last_seen)) AS behind,
        -- a log that was copied here tells by its time when it was copied
        max(changed) FILTER (changed > first_seen) AS last_written
    FROM log_files
    GROUP BY client
)
SELECT
    latest.client,
    greatest(coalesce(logs.behind, 0), 0) / 3600 AS behind_hours,
    greatest(coalesce(epoch(logs.last_written) - epoch(latest.latest_event), 0), 0) / 3600 AS silent_hours,
    greatest(epoch(latest.latest_event) - (SELECT epoch(checked_at) FROM home_facts), 0) / 3600 AS ahead_hours
FROM latest
LEFT JOIN logs USING (client)
ORDER BY latest.client

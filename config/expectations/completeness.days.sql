-- local_days tells the local day of every minute that has events.
WITH counted AS (
    SELECT l.day, count(*) AS event_count
    FROM events AS e
    JOIN local_days AS l ON l.minute = date_trunc('minute', e.timestamp)
    GROUP BY l.day
),
told AS (
    SELECT day, CAST(sum(event_count) AS BIGINT) AS event_count FROM usage_daily GROUP BY day
),
bounds AS (
    SELECT min(day) AS first_day, max(day) AS last_day
    FROM (SELECT day FROM counted UNION ALL SELECT day FROM told)
),
calendar AS (
    SELECT CAST(unnest(generate_series(first_day, last_day, INTERVAL 1 DAY)) AS DATE) AS day
    FROM bounds
    -- a wrong clock must not make a calendar of ages
    WHERE last_day - first_day < 36525
    UNION
    SELECT day FROM counted
    UNION
    SELECT day FROM told
)
SELECT
    calendar.day,
    coalesce(counted.event_count, 0) AS event_count,
    coalesce(told.event_count, 0) AS event_count_of_day
FROM calendar
LEFT JOIN counted USING (day)
LEFT JOIN told USING (day)
ORDER BY calendar.day

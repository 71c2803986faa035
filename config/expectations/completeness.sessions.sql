SELECT
    coalesce(e.client, s.client) AS client,
    coalesce(e.session_id, s.session_id) AS session_id,
    coalesce(e.event_count, 0) AS event_count,
    coalesce(s.event_count, 0) AS event_count_of_session
FROM (SELECT client, session_id, count(*) AS event_count FROM events GROUP BY client, session_id) AS e
FULL JOIN (
    SELECT client, session_id, CAST(sum(event_count) AS BIGINT) AS event_count FROM usage_sessions GROUP BY ALL
) AS s ON s.client = e.client AND s.session_id = e.session_id
ORDER BY ALL

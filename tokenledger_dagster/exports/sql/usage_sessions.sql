-- A session has one project, decided at booking.
SELECT
    session_id, client, provider, project,
    min(first_time) AS first_time, max(last_time) AS last_time, list_sort(list(DISTINCT model)) AS models,
    {sums}
FROM usage_hours
GROUP BY session_id, client, provider, project

SELECT
    project, client, provider,
    min(first_time) AS first_time, max(last_time) AS last_time, list_sort(list(DISTINCT model)) AS models,
    {sums}
FROM usage_hours
GROUP BY project, client, provider

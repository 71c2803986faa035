SELECT
    client, provider,
    min(first_time) AS first_time, max(last_time) AS last_time,
    {sums}
FROM usage_hours
GROUP BY client, provider

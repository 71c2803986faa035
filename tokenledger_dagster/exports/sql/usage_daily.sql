SELECT
    day, getvariable('zone') AS timezone, client, provider, maker, model,
    {sums}
FROM usage_hours
GROUP BY ALL

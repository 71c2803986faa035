SELECT
    strftime(day, '%Y-%m') AS month, getvariable('zone') AS timezone, client, provider, maker, model,
    {sums}
FROM usage_hours
GROUP BY ALL

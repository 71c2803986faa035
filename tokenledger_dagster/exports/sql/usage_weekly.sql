-- ISO weeks: from Monday, named by the year that holds their Thursday.
SELECT
    strftime(day, '%G-W%V') AS week, CAST(date_trunc('week', day) AS DATE) AS week_start,
    getvariable('zone') AS timezone, client, provider, maker, model,
    {sums}
FROM usage_hours
GROUP BY ALL

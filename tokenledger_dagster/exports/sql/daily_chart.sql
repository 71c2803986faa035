-- The latest days of a table usage_daily by client, the client with most first.
SELECT day, client, sum({measure}) AS value
FROM read_parquet({usage_daily})
WHERE day > (SELECT max(day) FROM read_parquet({usage_daily})) - {days}
GROUP BY day, client
ORDER BY sum(sum({measure})) OVER (PARTITION BY client) DESC, client, day

-- How many rows an export has by UTC day.
SELECT CAST(timestamp AS DATE) AS day, count(*) AS row_count FROM ({export}) GROUP BY day ORDER BY day

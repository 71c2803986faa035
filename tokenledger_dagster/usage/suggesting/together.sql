-- DuckDB: requests of each client, and all their suggestions together, nano-USD: of each request only the largest saving
-- counts.
WITH largest AS (
    SELECT request_no, max(saving_nano) AS saving FROM emitted WHERE saving_nano > 0 GROUP BY request_no
)
SELECT r.client, count(*), CAST(coalesce(sum(l.saving), 0) AS HUGEINT)
FROM requests AS r
LEFT JOIN largest AS l USING (request_no)
WHERE r.in_period
GROUP BY r.client
ORDER BY r.client

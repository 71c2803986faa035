-- Keys that stand more than once in a table.
SELECT {key}, count(*) AS row_count
FROM read_parquet({table})
GROUP BY {key}
HAVING count(*) > 1
ORDER BY {key}

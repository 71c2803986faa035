-- Tables of the attached database `published`: rows, and how many of table and columns have no comment.
SELECT
    t.table_name,
    CAST((t.comment IS NULL) AS INTEGER) + count(*) FILTER (c.comment IS NULL) AS uncommented
FROM duckdb_tables() AS t
JOIN duckdb_columns() AS c USING (database_name, table_name)
WHERE t.database_name = 'published'
GROUP BY t.table_name, t.comment

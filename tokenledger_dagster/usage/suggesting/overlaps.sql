-- DuckDB: pairs of suggestions that speak of the same requests.
SELECT DISTINCT one.suggestion_id, other.suggestion_id
FROM emitted AS one
JOIN emitted AS other USING (request_no)
WHERE one.suggestion_id <> other.suggestion_id AND one.saving_nano > 0 AND other.saving_nano > 0
ORDER BY 1, 2

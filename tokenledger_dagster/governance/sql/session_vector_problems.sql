-- Parts of sessions, as they are now, that no search should compare; Parquet files of vectors.
WITH written AS (
    SELECT *, max(batch) OVER (PARTITION BY client, session_id) AS latest
    FROM read_parquet({files})
), parts AS (
    SELECT
        client,
        session_id,
        part,
        part_count,
        actual,
        requested,
        reason,
        list_inner_product(vector::FLOAT[], vector::FLOAT[]) AS squared,
        count(*) OVER (PARTITION BY client, session_id) AS found,
        count(*) OVER (PARTITION BY client, session_id, part) AS same,
        count(DISTINCT digest) OVER (PARTITION BY client, session_id) AS digests
    FROM written
    WHERE batch = latest AND part > 0
), judged AS (
    SELECT
        client,
        session_id,
        part,
        CASE
            -- NaN is above every number here
            WHEN NOT squared BETWEEN $shortest AND $longest THEN 'is not of length 1'
            WHEN same > 1 THEN 'stands ' || same || ' times'
            WHEN found <> part_count OR part > part_count THEN 'is one of ' || found || ' parts, not ' || part_count
            WHEN digests > 1 THEN 'is of other prompts than the other parts'
            WHEN actual <> requested AND reason = '' THEN 'is by ' || actual || ', not ' || requested || ', without a reason'
        END AS problem
    FROM parts
)
SELECT client, session_id, part, problem
FROM judged
WHERE problem IS NOT NULL
ORDER BY client, session_id, part

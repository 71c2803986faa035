-- Sessions whose guess says more than it may; the Parquet file of activities.
WITH judged AS (
    SELECT
        client,
        session_id,
        activity,
        score,
        margin,
        CASE
            WHEN count(*) OVER (PARTITION BY client, session_id) > 1 THEN 'stands more than once'
            WHEN NOT is_estimate THEN 'is not marked as an estimate'
            WHEN (activity IS NULL) = (abstained = '') THEN 'claims something and abstains, or does neither'
            WHEN activity IS NULL THEN NULL
            WHEN NOT list_contains($classes, activity) THEN 'is no known class'
            WHEN NOT (score >= $min_score AND score <= 1) THEN 'is claimed at a score below ' || $min_score
            WHEN NOT (margin >= $min_margin AND margin <= 2) THEN 'is claimed at a margin below ' || $min_margin
        END AS problem
    FROM read_parquet({table})
)
SELECT client, session_id, activity, score, margin, problem
FROM judged
WHERE problem IS NOT NULL
ORDER BY client, session_id

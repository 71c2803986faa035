-- DuckDB: groups with what their requests come to; those that weigh most stand first among the keys.
WITH ranked AS (
    SELECT
        s.*, r.event_id, r.session_id, r.total_tokens,
        row_number() OVER (
            PARTITION BY s.group_no
            ORDER BY s.saving_nano DESC NULLS LAST, s.list_nano DESC NULLS LAST, r.total_tokens DESC, r.event_id
        ) AS place
    FROM savings AS s
    JOIN requests AS r USING (request_no)
),
summed AS (
    SELECT
        group_no, count(*) AS requests, count(DISTINCT session_id) AS sessions,
        CAST(sum(total_tokens) AS HUGEINT) AS total_tokens,
        CAST(coalesce(sum(variable_nano), 0) AS HUGEINT) AS paid_nano,
        CAST(coalesce(sum(list_nano), 0) AS HUGEINT) AS list_nano,
        CAST(coalesce(sum(other_nano) FILTER (saving_nano IS NOT NULL), 0) AS HUGEINT) AS other_nano,
        CAST(coalesce(sum(list_nano - other_nano), 0) AS HUGEINT) AS difference_nano,
        CAST(coalesce(sum(saving_nano), 0) AS HUGEINT) AS saving_nano,
        count(*) FILTER (saving_nano IS NULL) AS without_rate,
        list(event_id ORDER BY place) FILTER (place <= 5) AS event_ids
    FROM ranked
    GROUP BY group_no
),
by_session AS (
    SELECT group_no, session_id, sum(saving_nano) AS saving, sum(total_tokens) AS tokens
    FROM ranked
    GROUP BY group_no, session_id
),
named AS (
    SELECT group_no, list(session_id ORDER BY saving DESC NULLS LAST, tokens DESC, session_id) AS session_ids
    FROM (
        SELECT * FROM by_session
        QUALIFY row_number() OVER (
            PARTITION BY group_no ORDER BY saving DESC NULLS LAST, tokens DESC, session_id
        ) <= 5
    )
    GROUP BY group_no
)
SELECT g.*, s.* EXCLUDE (group_no), n.session_ids
FROM found_groups AS g
JOIN summed AS s USING (group_no)
JOIN named AS n USING (group_no)
ORDER BY g.group_no

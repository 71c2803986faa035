-- Events of one locked month that came, changed or went, each with its cause as far as the ledger knows it.  Needs the
-- relations of ingest.lake.attach.
WITH locked AS (SELECT * FROM read_parquet({locked})),
present AS ({present}),
changes AS (
    SELECT
        coalesce(l.event_id, n.event_id) AS event_id,
        CASE WHEN l.event_id IS NULL THEN 'came' WHEN n.event_id IS NULL THEN 'went' ELSE 'changed' END AS change,
        coalesce(n.client, l.client) AS client,
        coalesce(n.model, l.model) AS model,
        l.total_tokens AS tokens_before,
        n.total_tokens AS tokens_after,
        l.list_price_usd AS price_before,
        n.list_price_usd AS price_after,
        (l.client, l.provider, l.model) IS DISTINCT FROM (n.client, n.provider, n.model) AS is_renamed,
        l.timestamp IS DISTINCT FROM n.timestamp AS is_retimed,
        (
            l.input_tokens, l.output_tokens, l.cache_write_tokens, l.cache_read_tokens, l.tool_input_tokens,
            l.tool_output_tokens
        ) IS DISTINCT FROM (
            n.input_tokens, n.output_tokens, n.cache_write_tokens, n.cache_read_tokens, n.tool_input_tokens,
            n.tool_output_tokens
        ) AS is_recounted,
        l.record
    FROM locked AS l
    FULL JOIN present AS n USING (event_id)
    WHERE is_renamed OR is_retimed OR is_recounted OR l.list_price_usd IS DISTINCT FROM n.list_price_usd
        OR l.event_id IS NULL OR n.event_id IS NULL
),
-- the latest record that speaks for an event that is there
spoken AS (
    SELECT b.event_id, max(b.rid) AS rid
    FROM booking_records AS b
    WHERE b.event_id IN (SELECT event_id FROM changes WHERE change <> 'went')
    GROUP BY b.event_id
),
-- what became of the record of an event that is gone
gone AS (
    SELECT c.event_id, arg_min(r.source_path, r.rid) AS path, arg_min(b.rule, r.rid) AS rule,
        arg_min(b.event_id, r.rid) AS owner
    FROM changes AS c
    JOIN lake_records AS r ON left(r.record_sha256, 16) = c.record
    LEFT JOIN booking_records AS b USING (rid)
    WHERE c.change = 'went'
    GROUP BY c.event_id
),
-- the first record of a log tells whether it was known when the month was locked
logs AS (SELECT source_id, min(rid) AS first_record FROM lake_records GROUP BY source_id),
booked AS (
    SELECT event_id, strftime(timestamp, '%Y-%m') AS month
    FROM booking_events
    WHERE event_id IN (SELECT event_id FROM changes WHERE change = 'went')
),
judged AS (
    SELECT
        c.*,
        CASE
            WHEN c.change = 'went' AND x.month = {month} THEN 'not_in_table'
            WHEN c.change = 'went' AND x.event_id IS NOT NULL THEN 'other_month'
            WHEN c.change = 'went' AND g.rule IS NOT NULL THEN 'became_duplicate'
            WHEN c.change = 'went' AND g.owner IS NOT NULL THEN 'other_id'
            WHEN c.change = 'went' AND g.event_id IS NULL THEN 'record_lost'
            WHEN c.change = 'went' THEN 'booked_otherwise'
            WHEN c.change = 'changed' AND NOT (c.is_recounted OR c.is_retimed OR c.is_renamed) THEN 'repriced'
            WHEN c.change = 'changed' AND NOT (c.is_recounted OR c.is_retimed) THEN 'renamed'
            WHEN s.rid IS NULL THEN 'not_booked'
            WHEN s.rid <= {last_record} THEN 'booked_otherwise'
            WHEN r.generation > 1 THEN 'log_rewritten'
            WHEN o.first_record > {last_record} THEN 'new_log'
            WHEN c.change = 'changed' THEN 'other_copy'
            ELSE 'log_grew'
        END AS cause,
        CASE
            WHEN x.month <> {month} THEN x.month
            WHEN g.rule IS NOT NULL THEN concat(g.rule, ' of ', coalesce(g.owner, 'no event'))
            WHEN g.owner IS NOT NULL THEN g.owner
            ELSE coalesce(r.source_path, g.path, '')
        END AS place
    FROM changes AS c
    LEFT JOIN spoken AS s USING (event_id)
    LEFT JOIN lake_records AS r ON r.rid = s.rid
    LEFT JOIN logs AS o ON o.source_id = r.source_id
    LEFT JOIN gone AS g ON g.event_id = c.event_id
    LEFT JOIN booked AS x ON x.event_id = c.event_id
)
SELECT
    cause, change, count(*) AS event_count,
    sum(coalesce(tokens_after, 0)) - sum(coalesce(tokens_before, 0)) AS tokens_delta,
    sum(coalesce(price_after, 0)) - sum(coalesce(price_before, 0)) AS price_delta,
    list_slice(
        list(
            {{
                'event_id': event_id, 'client': client, 'model': model, 'tokens_before': tokens_before,
                'tokens_after': tokens_after, 'price_before': price_before, 'price_after': price_after, 'place': place
            }}
            ORDER BY event_id
        ),
        1, {shown}
    ) AS events
FROM judged
GROUP BY cause, change
ORDER BY event_count DESC, cause, change

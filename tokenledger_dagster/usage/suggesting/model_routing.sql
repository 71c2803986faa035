-- DuckDB: whole sessions whose every request is as short as what the person sends to another model of the same maker,
-- with the same client and on the same channel.  `rate_buckets` holds the length of time within which a rate of a
-- channel and model cannot change, in microseconds.
CREATE OR REPLACE TEMP TABLE shapes AS
SELECT
    client, provider, maker, channel, model, min(rate_model) AS rate_model,
    least(quantile_disc(prompt_tokens, getvariable('shape_quantile')), getvariable('maximum_prompt_tokens')) AS most_prompt,
    least(quantile_disc(output_tokens, getvariable('shape_quantile')), getvariable('maximum_output_tokens')) AS most_output
FROM requests
WHERE in_period AND NOT is_sum AND list_nano > 0 AND maker IS NOT NULL
GROUP BY client, provider, maker, channel, model
HAVING count(*) >= getvariable('minimum_model_requests');

CREATE OR REPLACE TEMP TABLE short_sessions AS
SELECT r.client, r.provider, r.channel, r.model, r.session_id, s.model AS other_model
FROM requests AS r
JOIN shapes AS s
    ON s.client = r.client AND s.provider = r.provider AND s.maker = r.maker AND s.channel = r.channel
    AND s.model <> r.model
WHERE r.in_period
GROUP BY ALL
HAVING bool_and(
    NOT r.is_sum AND coalesce(r.list_nano > 0, false) AND r.prompt_tokens + r.tool_input_tokens <= s.most_prompt
    AND r.output_tokens + r.tool_output_tokens <= s.most_output
);

CREATE OR REPLACE TEMP TABLE found_groups AS
SELECT
    row_number() OVER (ORDER BY client, provider, channel, model, other_model) AS group_no,
    client, provider, model, other_model AS detail, channel
FROM (SELECT DISTINCT client, provider, channel, model, other_model FROM short_sessions);

INSERT INTO changed
SELECT
    row_number() OVER (), g.group_no, r.request_no, r.channel, r.lookup_provider, s.rate_model, r.requested_context,
    epoch_us(time_bucket(to_microseconds(b.bucket_us), r.timestamp, TIMESTAMP '1970-01-01')) // b.bucket_us,
    r.is_sum, r.input_tokens, r.cache_read_tokens, r.cache_write_5m_tokens, r.cache_write_1h_tokens, r.output_tokens,
    r.tool_input_tokens, r.tool_output_tokens
FROM short_sessions AS o
JOIN found_groups AS g
    ON g.client = o.client AND g.provider = o.provider AND g.channel = o.channel AND g.model = o.model
    AND g.detail = o.other_model
JOIN shapes AS s
    ON s.client = o.client AND s.provider = o.provider AND s.channel = o.channel AND s.model = o.other_model
JOIN requests AS r
    ON r.client = o.client AND r.provider = o.provider AND r.channel = o.channel AND r.model = o.model
    AND r.session_id = o.session_id AND r.maker = s.maker
JOIN rate_buckets AS b ON b.channel = r.channel AND b.rate_model = s.rate_model
WHERE r.in_period

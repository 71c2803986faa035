-- SQLite, over the manifest; reprice.py runs these by name.

-- statement: keys
-- What decides the rates of booked requests besides the time; {models} lists the models that are looked at.
SELECT DISTINCT model_no, channel, requested_context FROM events WHERE model_no IN ({models}) ORDER BY 1, 2, 3;

-- statement: days
-- UTC days on which a model was used.
SELECT DISTINCT model_no, (slot - ((slot % 96) + 96) % 96) / 96 FROM slots WHERE model_no IN ({models}) ORDER BY 1, 2;

-- statement: largest
SELECT
    count(*),
    coalesce(max(input_tokens + output_tokens + cache_write_tokens + cache_read_tokens + tool_input_tokens
        + tool_output_tokens), 0)
FROM events WHERE model_no IN ({models});

-- statement: tables
CREATE TEMP TABLE stretches (
    stretch_no INTEGER PRIMARY KEY, model_no INTEGER, channel TEXT, context TEXT, from_us INTEGER, until_us INTEGER,
    has_rate INTEGER, tier INTEGER, tier_inclusive INTEGER,
    low_input INTEGER, low_read INTEGER, low_five INTEGER, low_hour INTEGER, low_output INTEGER, low_tool_in INTEGER,
    low_tool_out INTEGER,
    high_input INTEGER, high_read INTEGER, high_five INTEGER, high_hour INTEGER, high_output INTEGER,
    high_tool_in INTEGER, high_tool_out INTEGER,
    list_basis TEXT, price_confidence INTEGER, priced_context TEXT, unpriced_reason TEXT,
    unrated_confidence INTEGER,
    how TEXT  -- whole: nano-USD a token; scaled: a million tokens; single: priced one by one
);
-- statement: index
CREATE INDEX temp.stretches_key ON stretches(model_no, channel, context, from_us);
-- statement: repriced
CREATE TEMP TABLE repriced (
    stretch_no INTEGER, event_no INTEGER, tokens INTEGER, old_nano INTEGER, new_nano INTEGER,
    PRIMARY KEY (stretch_no, event_no)
) WITHOUT ROWID;

-- statement: requests
-- Requests with the stretch that they lie in; put in where { requests } stands.
SELECT
    e.event_no, e.list_price_nano, e.input_tokens, e.cache_read_tokens, e.cache_write_1h_tokens, e.output_tokens,
    e.tool_input_tokens, e.tool_output_tokens, s.*,
    e.cache_write_tokens - e.cache_write_1h_tokens AS five,
    e.input_tokens + e.tool_input_tokens + e.cache_read_tokens + e.cache_write_tokens AS prompt,
    e.input_tokens + e.output_tokens + e.cache_write_tokens + e.cache_read_tokens + e.tool_input_tokens
        + e.tool_output_tokens AS tokens,
    instr(e.booking_flags, 'sum_of_requests') > 0 AS is_sum
FROM events e
JOIN stretches s
    ON s.model_no = e.model_no AND s.channel = e.channel AND s.context = e.requested_context
    AND e.timestamp_us >= s.from_us AND e.timestamp_us < s.until_us
WHERE e.model_no IN ({models})

-- statement: product
-- Counters times rates, below or above the tier; put in where { product } stands.
CASE
    WHEN NOT is_sum AND (prompt > tier OR (tier_inclusive AND prompt = tier))
        THEN input_tokens * high_input + cache_read_tokens * high_read + five * high_five
            + cache_write_1h_tokens * high_hour + output_tokens * high_output
            + tool_input_tokens * high_tool_in + tool_output_tokens * high_tool_out
    ELSE input_tokens * low_input + cache_read_tokens * low_read + five * low_five
        + cache_write_1h_tokens * low_hour + output_tokens * low_output
        + tool_input_tokens * low_tool_in + tool_output_tokens * low_tool_out
END

-- statement: price_whole
-- Rates of whole nano-USD a token need no rounding; reprice.py has seen to it that no product leaves 64 bits.
INSERT INTO repriced
SELECT
    stretch_no, event_no, tokens, list_price_nano,
    CASE WHEN tokens = 0 THEN 0 WHEN has_rate THEN {product} END
FROM ({requests} AND s.how = 'whole');

-- statement: price_scaled
-- The arithmetic of rates.price_nano: one division for each request, rounded half to even.
INSERT INTO repriced
SELECT
    stretch_no, event_no, tokens, list_price_nano,
    CASE
        WHEN tokens = 0 THEN 0
        WHEN has_rate THEN scaled / 1000000
            + (2 * (scaled % 1000000) > 1000000 OR (2 * (scaled % 1000000) = 1000000 AND (scaled / 1000000) % 2 = 1))
    END
FROM (SELECT *, {product} AS scaled FROM ({requests} AND s.how = 'scaled'));

-- statement: one_by_one
-- What has to be priced by itself: numbers beyond 64 bits.
SELECT
    e.event_no, s.stretch_no, e.timestamp_us, e.list_price_nano, e.booking_flags,
    e.input_tokens, e.cache_read_tokens, e.cache_write_tokens - e.cache_write_1h_tokens, e.cache_write_1h_tokens,
    e.output_tokens, e.tool_input_tokens, e.tool_output_tokens
FROM events e
JOIN stretches s
    ON s.model_no = e.model_no AND s.channel = e.channel AND s.context = e.requested_context
    AND e.timestamp_us >= s.from_us AND e.timestamp_us < s.until_us
WHERE s.how = 'single' AND e.model_no IN ({models});

-- statement: unchanged
-- The same price that stands on the same ground is no change; on another ground it is written, but nothing to decide.
DELETE FROM repriced WHERE old_nano IS new_nano AND stretch_no IN (SELECT value FROM json_each(?));

-- statement: sums
SELECT
    stretch_no, count(*), sum(tokens), coalesce(sum(old_nano), 0), coalesce(sum(new_nano), 0),
    sum(old_nano IS NULL AND new_nano IS NOT NULL), sum(old_nano IS NOT NULL AND new_nano IS NULL)
FROM repriced WHERE old_nano IS NOT new_nano GROUP BY stretch_no ORDER BY stretch_no;

-- statement: write
UPDATE events SET
    list_price_nano = r.new_nano,
    list_basis = CASE WHEN s.has_rate THEN s.list_basis END,
    price_confidence = CASE WHEN s.has_rate THEN s.price_confidence ELSE s.unrated_confidence END,
    priced_context = CASE WHEN s.has_rate THEN s.priced_context ELSE '' END,
    unpriced_reason = CASE WHEN r.new_nano IS NULL THEN CASE WHEN s.has_rate THEN 'overflow' ELSE s.unpriced_reason END END
FROM repriced r JOIN stretches s USING (stretch_no)
WHERE events.event_no = r.event_no;

-- statement: slots
-- By how much sums by quarter hour change.
SELECT
    (e.timestamp_us - ((e.timestamp_us % 900000000) + 900000000) % 900000000) / 900000000 AS slot,
    e.session_no, e.model_no, e.is_estimated,
    sum(coalesce(r.new_nano, 0) - coalesce(r.old_nano, 0)),
    sum((r.new_nano IS NULL) - (r.old_nano IS NULL)),
    sum(((r.new_nano IS NULL) - (r.old_nano IS NULL)) * r.tokens)
FROM repriced r JOIN events e USING (event_no)
GROUP BY 1, 2, 3, 4;

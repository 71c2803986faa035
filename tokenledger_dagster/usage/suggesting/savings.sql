-- DuckDB: what changed requests would have saved, nano-USD.  Of what a request cost the same share is saved as of its
-- list price; one that a plan carries costs nothing by itself and saves nothing.
CREATE OR REPLACE TEMP TABLE savings AS
SELECT
    c.group_no, c.request_no, r.variable_nano, r.list_nano, p.list_price_nano AS other_nano,
    CASE
        WHEN p.list_price_nano IS NULL OR r.list_nano IS NULL THEN NULL
        WHEN r.list_nano = 0 OR r.variable_nano = 0 THEN 0
        ELSE r.variable_nano * (r.list_nano - p.list_price_nano) // r.list_nano
    END AS saving_nano
FROM changed AS c
JOIN requests AS r USING (request_no)
LEFT JOIN ({priced}) AS p ON p.event_id = c.changed_no

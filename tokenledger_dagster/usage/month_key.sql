-- SQLite, over the manifest: what the aggregates of a month are made of.  Bounds are half-open.
-- statement: days
SELECT DISTINCT day FROM cells;
-- statement: slots
SELECT DISTINCT slot FROM slots;
-- statement: by_day
SELECT * FROM cells WHERE day >= ? AND day < ? ORDER BY day, session_no, model_no, is_estimated;
-- statement: by_slot
SELECT * FROM slots WHERE slot >= ? AND slot < ? ORDER BY slot, session_no, model_no, is_estimated;
-- statement: sessions
SELECT session_no, client, session_id, project FROM sessions;
-- statement: models
SELECT model_no, client, model_raw, upstream, provider, model, billing_kind, account_hash, is_reported FROM models;
-- statement: labels
SELECT month, snapshot_id FROM price_months;
-- statement: first_slots
SELECT m.provider, min(s.slot) FROM slots s JOIN models m USING (model_no) GROUP BY m.provider ORDER BY m.provider;

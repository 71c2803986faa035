-- Booked events as the tables hold them; events and costs are Parquet files.
SELECT e.*, CAST(CAST(c.list_price_usd AS DECIMAL(38, 9)) * 1000000000 AS HUGEINT) AS list_nano
FROM {events} AS e
LEFT JOIN {costs} AS c USING (event_id)

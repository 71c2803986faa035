-- Events as they were published, for the writer of `tokenledger events`; events and costs are Parquet files.
SELECT e.*, c.list_price_usd
FROM read_parquet({events}) AS e
LEFT JOIN read_parquet({costs}) AS c USING (event_id)
ORDER BY e.timestamp, e.event_id

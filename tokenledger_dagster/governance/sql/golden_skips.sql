-- Lines that were passed over, by client and reason; needs the relations of ingest.lake.attach.
SELECT client || ' ' || reason AS name, CAST(sum(row_count) AS BIGINT) AS line_count
FROM lake_skips
GROUP BY name
ORDER BY name

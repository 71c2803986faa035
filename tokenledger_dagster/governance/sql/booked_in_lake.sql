-- Booked events as the lake holds them; needs the relations of ingest.lake.attach.
SELECT *, list_price_nano AS list_nano FROM booking_events

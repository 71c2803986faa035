-- Ledger rows whose price is no rate of their own model, channel or provider, and context; Parquet files.
SELECT ledger.source_model, ledger.canonical_model_guess, ledger.pricing_model, ledger.pricing_provider,
       ledger.pricing_channel, ledger.pricing_context, ledger.pricing_input_usd_per_mtok,
       ledger.pricing_output_usd_per_mtok
FROM read_parquet({ledger}) AS ledger
WHERE ledger.pricing_input_usd_per_mtok IS NOT NULL
  AND (ledger.model_mapping_confidence < 85
       OR NOT EXISTS (
           SELECT 1
           FROM read_parquet({prices}) AS price
           WHERE price.model = ledger.pricing_model
             AND price.context = ledger.pricing_context
             AND coalesce(price.channel, '') = coalesce(ledger.pricing_channel, '')
             AND (price.layer <> 'book' OR price.provider = ledger.pricing_provider)
             AND (price.model = ledger.canonical_model_guess OR price.layer = 'book')
             AND price.input_usd_per_mtok = ledger.pricing_input_usd_per_mtok
             AND price.output_usd_per_mtok = ledger.pricing_output_usd_per_mtok
             AND price.cache_read_usd_per_mtok = ledger.pricing_cache_read_usd_per_mtok
             AND coalesce(price.valid_from, DATE '0001-01-01') <= CAST(ledger.pricing_as_of[:10] AS DATE)
       ))
ORDER BY ledger.ledger_row_id

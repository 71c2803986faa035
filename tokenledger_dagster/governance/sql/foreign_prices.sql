-- Ledger rows of which some price cell is not that of one rate of their own in force: by the provider's book, a model
-- that the book itself names; by a list, the model on the provider's own channel. Parquet files.
-- The parameters are the columns of what names ask for: their own and the maker's channel, context, model by the book.
WITH asked AS (
    SELECT unnest(CAST($provider AS VARCHAR[])) AS provider, unnest(CAST($maker AS VARCHAR[])) AS maker,
           unnest(CAST($model AS VARCHAR[])) AS model, unnest(CAST($confidence AS INTEGER[])) AS confidence,
           unnest(CAST($modifiers AS VARCHAR[])) AS modifiers, unnest(CAST($own_channel AS VARCHAR[])) AS own_channel,
           unnest(CAST($maker_channel AS VARCHAR[])) AS maker_channel, unnest(CAST($context AS VARCHAR[])) AS context,
           unnest(CAST($book_model AS VARCHAR[])) AS book_model
),
rates AS (
    SELECT *,
           -- a rate that only an announcement ends is still the one in force
           min(coalesce(valid_from, DATE '1970-01-01')) FILTER (status = 'scheduled')
               OVER (PARTITION BY layer, provider, channel, model, context) AS announced_from
    FROM read_parquet({prices})
),
priced AS (
    SELECT *, TRY_CAST(pricing_as_of[:10] AS DATE) AS as_of_day, pricing_as_of[12:16] AS as_of_time
    FROM read_parquet({ledger})
    WHERE coalesce(pricing_input_usd_per_mtok, pricing_output_usd_per_mtok, pricing_cache_write_usd_per_mtok,
                   pricing_cache_read_usd_per_mtok, pricing_tool_input_usd_per_mtok, pricing_tool_output_usd_per_mtok,
                   long_context_from_tokens, long_context_input_usd_per_mtok, long_context_output_usd_per_mtok)
          IS NOT NULL
),
in_force AS (
    SELECT priced.ledger_row_id, priced.source_model, rate.*
    FROM priced
    JOIN rates AS rate
      ON rate.model = priced.pricing_model
     AND rate.context = priced.pricing_context
     AND rate.status = 'active'
     AND rate.confidence >= 60
     AND coalesce(rate.valid_from, DATE '0001-01-01') <= priced.as_of_day
     AND (rate.valid_to IS NULL OR rate.valid_to = rate.announced_from OR priced.as_of_day < rate.valid_to)
     AND coalesce(rate.tod_from, '00:00') <= priced.as_of_time
     AND priced.as_of_time < coalesce(rate.tod_to, '24:00')
)
SELECT priced.source_model, priced.canonical_model_guess, priced.pricing_model, priced.pricing_provider,
       priced.pricing_channel, priced.pricing_context, priced.pricing_input_usd_per_mtok,
       priced.pricing_output_usd_per_mtok
FROM priced
LEFT JOIN asked
       ON asked.provider IS NOT DISTINCT FROM priced.inferred_provider
      AND asked.maker IS NOT DISTINCT FROM priced.maker
      AND asked.model IS NOT DISTINCT FROM priced.canonical_model_guess
      AND asked.confidence = priced.model_mapping_confidence
      AND asked.modifiers = priced.modifiers
WHERE NOT EXISTS (
    SELECT 1
    FROM in_force AS rate
    WHERE rate.ledger_row_id = priced.ledger_row_id
      AND rate.source_model = priced.source_model
      AND rate.context = asked.context
      AND rate.input_usd_per_mtok IS NOT DISTINCT FROM priced.pricing_input_usd_per_mtok
      AND rate.output_usd_per_mtok IS NOT DISTINCT FROM priced.pricing_output_usd_per_mtok
      AND rate.cache_write_5m_usd_per_mtok IS NOT DISTINCT FROM priced.pricing_cache_write_usd_per_mtok
      AND rate.cache_read_usd_per_mtok IS NOT DISTINCT FROM priced.pricing_cache_read_usd_per_mtok
      -- tools that are not priced apart cost as input and output
      AND coalesce(rate.tool_input_usd_per_mtok, rate.input_usd_per_mtok)
          IS NOT DISTINCT FROM coalesce(priced.pricing_tool_input_usd_per_mtok, priced.pricing_input_usd_per_mtok)
      AND coalesce(rate.tool_output_usd_per_mtok, rate.output_usd_per_mtok)
          IS NOT DISTINCT FROM coalesce(priced.pricing_tool_output_usd_per_mtok, priced.pricing_output_usd_per_mtok)
      AND rate.tier_from_tokens IS NOT DISTINCT FROM priced.long_context_from_tokens
      AND rate.input_high_usd_per_mtok IS NOT DISTINCT FROM priced.long_context_input_usd_per_mtok
      AND rate.output_high_usd_per_mtok IS NOT DISTINCT FROM priced.long_context_output_usd_per_mtok
      AND (rate.model = asked.book_model
           OR (rate.model = asked.model AND (rate.layer = 'book' OR asked.confidence >= 85)))
      AND CASE
              WHEN rate.layer = 'book'
              THEN priced.pricing_channel IS NULL
                   AND rate.provider = priced.pricing_provider AND rate.provider = priced.inferred_provider
              WHEN priced.pricing_list_basis = 'channel'
              THEN rate.channel = priced.pricing_channel AND rate.channel = asked.own_channel
              WHEN priced.pricing_list_basis = 'maker'
              THEN rate.channel = priced.pricing_channel AND rate.channel = asked.maker_channel
                   AND NOT EXISTS (
                       SELECT 1 FROM in_force AS own
                       WHERE own.ledger_row_id = priced.ledger_row_id
                         AND own.source_model = priced.source_model
                         AND own.channel = asked.own_channel
                         AND own.channel <> rate.channel
                   )
              ELSE false
          END
)
ORDER BY priced.ledger_row_id

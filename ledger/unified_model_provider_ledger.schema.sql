-- Models of the benchmark seed (in a live build also those in use) with maker, list price and benchmark priors.
-- Made by a program, not by hand. Loads in SQLite and in DuckDB; loading it again empties the table.

DROP TABLE IF EXISTS unified_model_provider_ledger;

CREATE TABLE unified_model_provider_ledger (
    ledger_row_id BIGINT NOT NULL,                          -- From 1 on, in the order of slugs. [>= 1]
    source_model VARCHAR NOT NULL,                          -- Model as the benchmark table or the log names it.
    source_model_slug VARCHAR NOT NULL,                     -- The same in small letters, digits and dashes; tells rows apart.
    inferred_provider VARCHAR,                              -- Key of the pricing book for whoever makes the model; null = abstained.
    provider_mapping_rule VARCHAR NOT NULL,                 -- Rule by which the maker was recognised.
    provider_mapping_confidence INTEGER NOT NULL,           -- Certainty of the maker, 0-100. [>= 0; <= 100]
    canonical_model_guess VARCHAR,                          -- Canonical model id; null where no rule names one model.
    model_mapping_rule VARCHAR NOT NULL,                    -- Least certain rule by which the model was recognised.
    model_mapping_confidence INTEGER NOT NULL,              -- Certainty of the model, 0-100; prices are looked up from 85 on. [>= 0; <= 100]
    pricing_provider VARCHAR,                               -- Key of the pricing book under which the price was found.
    pricing_model VARCHAR,                                  -- Model id of the rate that was found.
    pricing_subscription_usd_month DECIMAL(18,9),           -- Monthly fee that the pricing book states for the provider, USD. [>= 0]
    pricing_input_usd_per_mtok DECIMAL(18,9),               -- USD per million tokens: prompt tokens outside caches, below any long-context step; null = not known. [>= 0]
    pricing_output_usd_per_mtok DECIMAL(18,9),              -- USD per million tokens: completion tokens; null = not known. [>= 0]
    pricing_cache_write_usd_per_mtok DECIMAL(18,9),         -- USD per million tokens: tokens written to a cache for 5 minutes; as input where not priced apart; null = not known. [>= 0]
    pricing_cache_read_usd_per_mtok DECIMAL(18,9),          -- USD per million tokens: prompt tokens read from a cache; as input where not priced apart; null = not known. [>= 0]
    pricing_tool_input_usd_per_mtok DECIMAL(18,9),          -- USD per million tokens: tool input, where the pricing book states it; null = not known. [>= 0]
    pricing_tool_output_usd_per_mtok DECIMAL(18,9),         -- USD per million tokens: tool output, where the pricing book states it; null = not known. [>= 0]
    benchmark_input_usd_per_mtok DECIMAL(18,9),             -- USD per million tokens: input price that the benchmark table states; null = not known. [>= 0]
    benchmark_output_usd_per_mtok DECIMAL(18,9),            -- USD per million tokens: output price that the benchmark table states; null = not known. [>= 0]
    benchmark_rows_total BIGINT NOT NULL,                   -- Rows of the benchmark table. [>= 0]
    benchmark_rows_non_missing BIGINT NOT NULL,             -- Of these, with a value for the model. [>= 0]
    benchmark_rows_missing BIGINT NOT NULL,                 -- Of these, without one. [>= 0]
    benchmark_prior_rows_total BIGINT NOT NULL,             -- Rows that are no prices. [>= 0]
    benchmark_prior_rows_non_missing BIGINT NOT NULL,       -- Of these, with a value for the model. [>= 0]
    benchmark_prior_rows_missing BIGINT NOT NULL,           -- Of these, without one. [>= 0]
    benchmark_distinct_total BIGINT NOT NULL,               -- Distinct benchmark names. [>= 0]
    benchmark_distinct_non_missing BIGINT NOT NULL,         -- Of these, with a value for the model. [>= 0]
    pricing_vs_benchmark_input_delta DECIMAL(18,9),         -- List price less the benchmark table's, input, USD per million tokens.
    pricing_vs_benchmark_output_delta DECIMAL(18,9),        -- The same, output.
    maker VARCHAR,                                          -- Who made the model; null = abstained.
    modifiers VARCHAR NOT NULL,                             -- What the name says beyond the model, as effort=high;speed=fast; empty = nothing.
    is_canonical BOOLEAN NOT NULL,                          -- True for one row of each provider and model: join usage to these.
    pricing_channel VARCHAR,                                -- Price list's provider id of the rate.
    pricing_context VARCHAR,                                -- Context of the rate: standard, speed=fast, ...
    pricing_list_basis VARCHAR,                             -- channel, or maker where the channel has no price of its own.
    pricing_confidence INTEGER,                             -- Certainty of the rate, 0-100. [>= 0; <= 100]
    pricing_source VARCHAR,                                 -- Where the rate was taken from.
    pricing_source_version VARCHAR,                         -- Version of that source.
    pricing_as_of VARCHAR NOT NULL,                         -- Moment whose rate this is, RFC 3339, UTC.
    pricing_note VARCHAR NOT NULL,                          -- Why there is no price; empty where there is one.
    long_context_from_tokens BIGINT,                        -- Prompt tokens above which all tokens pay the step's rates. [>= 0]
    long_context_input_usd_per_mtok DECIMAL(18,9),          -- USD per million tokens: input above the step; null = not known. [>= 0]
    long_context_output_usd_per_mtok DECIMAL(18,9),         -- USD per million tokens: output above the step; null = not known. [>= 0]
    benchmark_quality_name VARCHAR NOT NULL,                -- Benchmark and harness of the quality that the Pareto view compares.
    benchmark_quality_score DECIMAL(18,9),                  -- The model's figure there, percent; null = none published.
    is_in_use BOOLEAN NOT NULL,                             -- True where the ledger that built this has usage of the model.
    PRIMARY KEY (ledger_row_id)
);

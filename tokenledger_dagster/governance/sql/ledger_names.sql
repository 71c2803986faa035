-- What rows of the ledger are called, each way once; a Parquet file.
SELECT DISTINCT
    inferred_provider AS provider, maker, canonical_model_guess AS model, model_mapping_confidence AS confidence, modifiers
FROM read_parquet({ledger})

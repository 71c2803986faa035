-- Estimates that no text could have, or that could be taken for counts; the Parquet file of estimates.
WITH judged AS (
    SELECT
        client,
        session_id,
        prompt_characters,
        answer_characters,
        estimated_prompt_tokens,
        estimated_answer_tokens,
        CASE
            WHEN count(*) OVER (PARTITION BY client, session_id) > 1 THEN 'stands more than once'
            WHEN NOT is_estimated THEN 'is not marked as an estimate'
            -- a token is a byte at the least, and a character four bytes at the most
            WHEN estimated_prompt_tokens > 4 * prompt_characters THEN 'has more prompt tokens than bytes'
            WHEN estimated_answer_tokens > 4 * answer_characters THEN 'has more answer tokens than bytes'
            WHEN least(estimated_prompt_tokens, estimated_answer_tokens) < 0 THEN 'is below zero'
            WHEN prompt_count + answer_count = 0 THEN 'is of nothing'
        END AS problem
    FROM read_parquet({table})
)
SELECT client, session_id, prompt_characters, answer_characters, estimated_prompt_tokens, estimated_answer_tokens, problem
FROM judged
WHERE problem IS NOT NULL
ORDER BY client, session_id

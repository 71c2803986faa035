-- Pareto view of the unified ledger. Made by a program, not by hand. Load the ledger's schema and seed before it, in
-- SQLite or DuckDB; loading it again replaces everything.
-- The table holds what each ledger row offers; the view works out dominance and the score from that.
-- Usage mix, shares of tokens: {mix}.
-- Weights: {weights}.
-- Components are 0 at the worst and 1 at the best bound, costs and latencies by their logarithm: {bounds}.

BEGIN TRANSACTION;

DROP VIEW IF EXISTS unified_model_provider_pareto;
DROP TABLE IF EXISTS unified_model_provider_pareto_offers;

CREATE TABLE unified_model_provider_pareto_offers (
{columns}
);

{inserts}
CREATE VIEW unified_model_provider_pareto AS
WITH
weights (objectives, quality_weight, cost_weight, latency_weight) AS (
    VALUES
{weight_rows}
),
beaten AS (
    SELECT mine.ledger_row_id, mine.objectives, other.ledger_row_id AS other_id, other.quality AS other_quality,
           other.front_rank AS other_rank
    FROM unified_model_provider_pareto_offers AS mine
    JOIN unified_model_provider_pareto_offers AS other
      ON other.objectives = mine.objectives
     AND other.quality >= mine.quality
     AND other.cost_usd <= mine.cost_usd
     AND (mine.latency_basis IS NULL OR other.latency <= mine.latency)
     AND (other.quality > mine.quality
          OR other.cost_usd < mine.cost_usd
          OR (mine.latency_basis IS NOT NULL AND other.latency < mine.latency))
    WHERE mine.eligibility = 'eligible' AND other.eligibility = 'eligible'
),
counted AS (
    SELECT ledger_row_id, objectives, count(*) AS n_dominated_by FROM beaten GROUP BY ledger_row_id, objectives
),
examples AS (
    SELECT ledger_row_id, objectives, other_id,
           row_number() OVER (PARTITION BY ledger_row_id, objectives ORDER BY other_quality DESC, other_id) AS place
    FROM beaten
    WHERE other_rank = 1
)
SELECT
    offer.ledger_row_id,
    ledger.inferred_provider AS provider,
    ledger.canonical_model_guess AS model,
    offer.objectives,
    offer.eligibility = 'eligible' AND counted.n_dominated_by IS NULL AS is_frontier,
    offer.front_rank,
    CASE WHEN offer.eligibility = 'eligible' THEN coalesce(counted.n_dominated_by, 0) END AS n_dominated_by,
    example.source_model AS dominated_by_example,
    round(100 * (offer.quality_component * weights.quality_weight + offer.cost_component * weights.cost_weight
                 + coalesce(offer.latency_component, 0) * weights.latency_weight), 4) AS pareto_score,
{stored}
FROM unified_model_provider_pareto_offers AS offer
JOIN unified_model_provider_ledger AS ledger ON ledger.ledger_row_id = offer.ledger_row_id
JOIN weights ON weights.objectives = offer.objectives
LEFT JOIN counted ON counted.ledger_row_id = offer.ledger_row_id AND counted.objectives = offer.objectives
LEFT JOIN examples
       ON examples.ledger_row_id = offer.ledger_row_id AND examples.objectives = offer.objectives AND examples.place = 1
LEFT JOIN unified_model_provider_ledger AS example ON example.ledger_row_id = examples.other_id
ORDER BY offer.objectives, offer.ledger_row_id;

COMMIT;

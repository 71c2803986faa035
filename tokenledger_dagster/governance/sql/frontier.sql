-- Pareto rows whose standing is not what comparing all eligible pairs gives; a Parquet file.
WITH able AS (
    SELECT * FROM read_parquet({pareto}) WHERE eligibility = 'eligible'
),
beaten AS (
    SELECT mine.ledger_row_id, mine.objectives, count(*) AS dominators
    FROM able AS mine
    JOIN able AS other
      ON other.objectives = mine.objectives
     AND other.quality >= mine.quality
     AND other.cost_usd <= mine.cost_usd
     AND coalesce(other.latency, 0) <= coalesce(mine.latency, 0)
     AND (other.quality > mine.quality OR other.cost_usd < mine.cost_usd
          OR coalesce(other.latency, 0) < coalesce(mine.latency, 0))
    GROUP BY mine.ledger_row_id, mine.objectives
)
SELECT pareto.objectives, pareto.source_model, pareto.eligibility, pareto.is_frontier, pareto.n_dominated_by,
       coalesce(beaten.dominators, 0) AS dominators
FROM read_parquet({pareto}) AS pareto
LEFT JOIN beaten ON beaten.ledger_row_id = pareto.ledger_row_id AND beaten.objectives = pareto.objectives
WHERE CASE WHEN pareto.eligibility = 'eligible'
           THEN pareto.n_dominated_by IS DISTINCT FROM coalesce(beaten.dominators, 0)
                OR pareto.is_frontier <> (beaten.dominators IS NULL)
           ELSE pareto.is_frontier OR pareto.n_dominated_by IS NOT NULL OR pareto.pareto_score IS NOT NULL
      END
ORDER BY pareto.objectives, pareto.ledger_row_id

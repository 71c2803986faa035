-- Pareto view of the unified ledger. Made by a program, not by hand. Load the ledger's schema and seed before it, in
-- SQLite or DuckDB; loading it again replaces everything.
-- The table holds what each ledger row offers; the view works out dominance and the score from that.
-- Usage mix, shares of tokens: input 0.05, cache_write 0.05, cache_read 0.88, output 0.02.
-- Weights: cost+quality: quality 0.6, cost 0.4; cost+quality+latency: quality 0.5, cost 0.3, latency 0.2.
-- Components are 0 at the worst and 1 at the best bound, costs and latencies by their logarithm: quality 0-100, usd_per_mtok 100-0.01, usd_per_task 10-0.001, s_per_task 1000-1, ms_per_request 600000-100.

BEGIN TRANSACTION;

DROP VIEW IF EXISTS unified_model_provider_pareto;
DROP TABLE IF EXISTS unified_model_provider_pareto_offers;

CREATE TABLE unified_model_provider_pareto_offers (
    ledger_row_id BIGINT NOT NULL,                                      -- Row of the unified ledger. [>= 1]
    objectives VARCHAR NOT NULL,                                        -- What is compared. [one of: cost+quality, cost+quality+latency]
    front_rank BIGINT,                                                  -- 1 = frontier, 2 = the frontier without it, ...; null = not eligible. [>= 1]
    quality_component DECIMAL(18,9),                                    -- Quality between its bounds, 0-1. [>= 0]
    cost_component DECIMAL(18,9),                                       -- Cost between its bounds by its logarithm, 0-1, 1 = cheap. [>= 0]
    latency_component DECIMAL(18,9),                                    -- Latency likewise, 1 = fast; null where it is not compared. [>= 0]
    blended_cost_usd_per_mtok DECIMAL(18,9),                            -- USD per million tokens at list price, for the usage mix. [>= 0]
    runtime_latency_ms BIGINT,                                          -- Median latency of own requests, milliseconds; null = too few. [>= 0]
    runtime_quality_score DECIMAL(18,9),                                -- Quality that the runtime snapshot states, percent. [>= 0]
    benchmark_quality_score DECIMAL(18,9),                              -- Quality that the benchmark states, percent. [>= 0]
    eligibility VARCHAR NOT NULL,                                       -- eligible, or missing: and the objectives that have no figure.
    runtime_source_path VARCHAR,                                        -- Where runtime figures were taken from.
    source_model VARCHAR NOT NULL,                                      -- Model as the ledger's row names it.
    quality_name VARCHAR NOT NULL,                                      -- Benchmark and harness that quality was taken from.
    quality DECIMAL(18,9),                                              -- Quality that is compared, percent; null = none. [>= 0]
    cost_basis VARCHAR NOT NULL,                                        -- Unit of the cost compared. [one of: usd_per_mtok, usd_per_task]
    cost_usd DECIMAL(18,9),                                             -- Cost that is compared; null = none. [>= 0]
    latency_basis VARCHAR,                                              -- Unit of the latency compared. [one of: s_per_task, ms_per_request]
    latency DECIMAL(18,9),                                              -- Latency that is compared; null = none. [>= 0]
    frontier_probability DECIMAL(18,9),                                 -- Share of 2,000 samples of the benchmark's tasks with the row on the frontier; null = size not known. [>= 0]
    weight_win_share DECIMAL(18,9),                                     -- Share of all weightings at which its score is the best. [>= 0]
    blended_cost_without_cache_reads_usd_per_mtok DECIMAL(18,9),        -- USD per million tokens at list price for the mix without its cache reads. [>= 0]
    runtime_requests BIGINT,                                            -- Own requests that the runtime latency was measured on. [>= 0]
    PRIMARY KEY (objectives, ledger_row_id)
);

INSERT INTO unified_model_provider_pareto_offers (ledger_row_id, objectives, front_rank, quality_component, cost_component, latency_component, blended_cost_usd_per_mtok, runtime_latency_ms, runtime_quality_score, benchmark_quality_score, eligibility, runtime_source_path, source_model, quality_name, quality, cost_basis, cost_usd, latency_basis, latency, frontier_probability, weight_win_share, blended_cost_without_cache_reads_usd_per_mtok, runtime_requests) VALUES
(1, 'cost+quality', NULL, NULL, NULL, NULL, 0.9015, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude 3.7 Sonnet', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.9015, NULL, NULL, NULL, NULL, 5.3125, NULL),
(2, 'cost+quality', NULL, NULL, NULL, NULL, 2.345, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Fable 5.1', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 2.345, NULL, NULL, NULL, NULL, 17.708333333, NULL),
(3, 'cost+quality', NULL, NULL, NULL, NULL, 1.876, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Fable 5.2', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.876, NULL, NULL, NULL, NULL, 14.166666667, NULL),
(4, 'cost+quality', 1, 0.3945, 0.630539, NULL, 0.3005, NULL, NULL, 39.45, 'eligible', NULL, 'Claude Haiku 4.5', 'SWE-Bench Pro | Public set, Scale leaderboard', 39.45, 'usd_per_mtok', 0.3005, NULL, NULL, 0.836, 0, 1.770833333, NULL),
(5, 'cost+quality', NULL, NULL, NULL, NULL, 0.03005, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Haiku 5.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.03005, NULL, NULL, NULL, NULL, 0.177083333, NULL),
(6, 'cost+quality', NULL, NULL, NULL, NULL, 4.5075, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Opus 4', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 4.5075, NULL, NULL, NULL, NULL, 26.5625, NULL),
(7, 'cost+quality', NULL, NULL, NULL, NULL, 4.5075, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Opus 4.1', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 4.5075, NULL, NULL, NULL, NULL, 26.5625, NULL),
(8, 'cost+quality', 3, 0.4589, 0.455796, NULL, 1.5025, NULL, NULL, 45.89, 'eligible', NULL, 'Claude Opus 4.5', 'SWE-Bench Pro | Public set, Scale leaderboard', 45.89, 'usd_per_mtok', 1.5025, NULL, NULL, 0, 0, 8.854166667, NULL),
(9, 'cost+quality', 2, 0.519, 0.455796, NULL, 1.5025, NULL, NULL, 51.9, 'eligible', NULL, 'Claude Opus 4.6', 'SWE-Bench Pro | Public set, Scale leaderboard', 51.9, 'usd_per_mtok', 1.5025, NULL, NULL, 0.002, 0, 8.854166667, NULL),
(10, 'cost+quality', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Opus 4.7', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.5025, NULL, NULL, NULL, NULL, 8.854166667, NULL),
(11, 'cost+quality', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Opus 4.8', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.5025, NULL, NULL, NULL, NULL, 8.854166667, NULL),
(12, 'cost+quality', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Opus 5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.5025, NULL, NULL, NULL, NULL, 8.854166667, NULL),
(13, 'cost+quality', NULL, NULL, NULL, NULL, 1.026, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Opus 5.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.026, NULL, NULL, NULL, NULL, 7.083333333, NULL),
(14, 'cost+quality', 3, 0.427, 0.511259, NULL, 0.9015, NULL, NULL, 42.7, 'eligible', NULL, 'Claude Sonnet 4', 'SWE-Bench Pro | Public set, Scale leaderboard', 42.7, 'usd_per_mtok', 0.9015, NULL, NULL, 0, 0, 5.3125, NULL),
(15, 'cost+quality', 2, 0.436, 0.511259, NULL, 0.9015, NULL, NULL, 43.6, 'eligible', NULL, 'Claude Sonnet 4.5', 'SWE-Bench Pro | Public set, Scale leaderboard', 43.6, 'usd_per_mtok', 0.9015, NULL, NULL, 0, 0, 5.3125, NULL),
(16, 'cost+quality', NULL, NULL, NULL, NULL, 0.9015, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Sonnet 4.6', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.9015, NULL, NULL, NULL, NULL, 5.3125, NULL),
(17, 'cost+quality', NULL, NULL, NULL, NULL, 0.601, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Sonnet 5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.601, NULL, NULL, NULL, NULL, 3.541666667, NULL),
(18, 'cost+quality', NULL, NULL, NULL, NULL, 0.513, NULL, NULL, NULL, 'missing: quality', NULL, 'Claude Sonnet 5.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.513, NULL, NULL, NULL, NULL, 3.541666667, NULL),
(19, 'cost+quality', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality', NULL, 'codex/gpt-5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.435, NULL, NULL, NULL, NULL, 2.708333333, NULL),
(20, 'cost+quality', NULL, NULL, NULL, NULL, 0.6, NULL, NULL, NULL, 'missing: quality', NULL, 'Codex Mini', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.6, NULL, NULL, NULL, NULL, 2.25, NULL),
(21, 'cost+quality', NULL, NULL, NULL, NULL, 0.276, NULL, NULL, NULL, 'missing: quality', NULL, 'Composer 2.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.276, NULL, NULL, NULL, NULL, 0.833333333, NULL),
(22, 'cost+quality', NULL, NULL, NULL, NULL, 0.06104, NULL, NULL, NULL, 'missing: quality', NULL, 'deepseek/deepseek-v3.2-exp', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.06104, NULL, NULL, NULL, NULL, 0.303333333, NULL),
(23, 'cost+quality', NULL, NULL, NULL, NULL, 0.06104, NULL, NULL, NULL, 'missing: quality', NULL, 'DeepSeek V3.2-Exp (Chat)', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.06104, NULL, NULL, NULL, NULL, 0.303333333, NULL),
(24, 'cost+quality', NULL, NULL, NULL, NULL, 0.06104, NULL, NULL, NULL, 'missing: quality', NULL, 'DeepSeek V3.2-Exp (Reasoner)', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.06104, NULL, NULL, NULL, NULL, 0.303333333, NULL),
(25, 'cost+quality', NULL, NULL, NULL, NULL, 0.02964, NULL, NULL, NULL, 'missing: quality', NULL, 'DeepSeek V4 Flash', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.02964, NULL, NULL, NULL, NULL, 0.225, NULL),
(26, 'cost+quality', NULL, NULL, NULL, NULL, 0.12496, NULL, NULL, NULL, 'missing: quality', NULL, 'DeepSeek V4 Pro', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.12496, NULL, NULL, NULL, NULL, 0.88, NULL),
(27, 'cost+quality', NULL, NULL, NULL, NULL, 0.1152, NULL, NULL, NULL, 'missing: quality', NULL, 'Devstral 2', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.1152, NULL, NULL, NULL, NULL, 0.666666667, NULL),
(28, 'cost+quality', NULL, NULL, NULL, NULL, 0.1064, NULL, NULL, NULL, 'missing: quality', NULL, 'Gemini 2.5 Flash', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.1064, NULL, NULL, NULL, NULL, 0.666666667, NULL),
(29, 'cost+quality', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality', NULL, 'Gemini 2.5 Pro', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.435, NULL, NULL, NULL, NULL, 2.708333333, NULL),
(30, 'cost+quality', 1, 0.461, 0.552605, NULL, 0.616, NULL, NULL, 46.1, 'eligible', NULL, 'Gemini 3.1 Pro', 'SWE-Bench Pro | Public set, Scale leaderboard', 46.1, 'usd_per_mtok', 0.616, NULL, NULL, 0.974, 0, 3.666666667, NULL),
(31, 'cost+quality', NULL, NULL, NULL, NULL, 0.216, NULL, NULL, NULL, 'missing: quality', NULL, 'Gemini 3.8 Flash', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.216, NULL, NULL, NULL, NULL, 1.25, NULL),
(32, 'cost+quality', NULL, NULL, NULL, NULL, 0.488, NULL, NULL, NULL, 'missing: quality', NULL, 'Gemini 4 Argon', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.488, NULL, NULL, NULL, NULL, 3.333333333, NULL),
(33, 'cost+quality', 2, 0.0967, 0.674309, NULL, 0.2008, NULL, NULL, 9.67, 'eligible', NULL, 'GLM-4.6', 'SWE-Bench Pro | Public set, Scale leaderboard', 9.67, 'usd_per_mtok', 0.2008, NULL, NULL, 0, 0, 0.866666667, NULL),
(34, 'cost+quality', NULL, NULL, NULL, NULL, 0.2008, NULL, NULL, NULL, 'missing: quality', NULL, 'GLM-4.7', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.2008, NULL, NULL, NULL, NULL, 0.866666667, NULL),
(35, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost', NULL, 'GLM-4.7 Flash', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(36, 'cost+quality', NULL, NULL, NULL, NULL, 0.34, NULL, NULL, NULL, 'missing: quality', NULL, 'GLM-5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.34, NULL, NULL, NULL, NULL, 1.366666667, NULL),
(37, 'cost+quality', NULL, NULL, NULL, NULL, 0.4568, NULL, NULL, NULL, 'missing: quality', NULL, 'GLM-5.1', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.4568, NULL, NULL, NULL, NULL, 1.9, NULL),
(38, 'cost+quality', NULL, NULL, NULL, NULL, 0.4568, NULL, NULL, NULL, 'missing: quality', NULL, 'GLM-5.3', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.4568, NULL, NULL, NULL, NULL, 1.9, NULL),
(39, 'cost+quality', NULL, NULL, NULL, NULL, 0.8, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-4.1', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.8, NULL, NULL, NULL, NULL, 3, NULL),
(40, 'cost+quality', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.1 Codex Max', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.435, NULL, NULL, NULL, NULL, 2.708333333, NULL),
(41, 'cost+quality', NULL, NULL, NULL, NULL, 0.087, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.1 Codex Mini', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.087, NULL, NULL, NULL, NULL, 0.541666667, NULL),
(42, 'cost+quality', 1, 0.4104, 0.553846, NULL, 0.609, NULL, NULL, 41.04, 'eligible', NULL, 'GPT-5.2 Codex', 'SWE-Bench Pro | Public set, Scale leaderboard', 41.04, 'usd_per_mtok', 0.609, NULL, NULL, 0.724, 0, 3.791666667, NULL),
(43, 'cost+quality', NULL, NULL, NULL, NULL, 0.609, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.3 Codex', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.609, NULL, NULL, NULL, NULL, 3.791666667, NULL),
(44, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost', NULL, 'GPT-5.3 Codex Spark', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(45, 'cost+quality', 1, 0.591, 0.528377, NULL, 0.77, NULL, NULL, 59.1, 'eligible', NULL, 'GPT-5.4', 'SWE-Bench Pro | Public set, Scale leaderboard', 59.1, 'usd_per_mtok', 0.77, NULL, NULL, 1, 0.476, 4.583333333, NULL),
(46, 'cost+quality', NULL, NULL, NULL, NULL, 0.231, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.4 Mini', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.231, NULL, NULL, NULL, NULL, 1.375, NULL),
(47, 'cost+quality', NULL, NULL, NULL, NULL, 1.54, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.54, NULL, NULL, NULL, NULL, 9.166666667, NULL),
(48, 'cost+quality', NULL, NULL, NULL, NULL, 0.0641, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.6 Luna', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.0641, NULL, NULL, NULL, NULL, 0.3875, NULL),
(49, 'cost+quality', NULL, NULL, NULL, NULL, 1.202, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5.6 Sol', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 1.202, NULL, NULL, NULL, NULL, 7.083333333, NULL),
(50, 'cost+quality', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5 (high)', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.435, NULL, NULL, NULL, NULL, 2.708333333, NULL),
(51, 'cost+quality', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5 (low)', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.435, NULL, NULL, NULL, NULL, 2.708333333, NULL),
(52, 'cost+quality', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5 (medium)', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.435, NULL, NULL, NULL, NULL, 2.708333333, NULL),
(53, 'cost+quality', NULL, NULL, NULL, NULL, 0.087, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-5 Mini', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.087, NULL, NULL, NULL, NULL, 0.541666667, NULL),
(54, 'cost+quality', NULL, NULL, NULL, NULL, 0.513, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-6.1 Sol', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.513, NULL, NULL, NULL, NULL, 3.541666667, NULL),
(55, 'cost+quality', NULL, NULL, NULL, NULL, 0.2565, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-6.1 Terra', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.2565, NULL, NULL, NULL, NULL, 1.770833333, NULL),
(56, 'cost+quality', NULL, NULL, NULL, NULL, 3.005, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-6 Astra', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 3.005, NULL, NULL, NULL, NULL, 17.708333333, NULL),
(57, 'cost+quality', NULL, NULL, NULL, NULL, 0.03005, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-6 Luna', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.03005, NULL, NULL, NULL, NULL, 0.177083333, NULL),
(58, 'cost+quality', NULL, NULL, NULL, NULL, 0.601, NULL, NULL, NULL, 'missing: quality', NULL, 'GPT-6 Sol', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.601, NULL, NULL, NULL, NULL, 3.541666667, NULL),
(59, 'cost+quality', NULL, NULL, NULL, NULL, 0.584, NULL, NULL, NULL, 'missing: quality', NULL, 'Grok 4.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.584, NULL, NULL, NULL, NULL, 2.666666667, NULL),
(60, 'cost+quality', NULL, NULL, NULL, NULL, 0.76, NULL, NULL, NULL, 'missing: quality', NULL, 'Grok 4.7', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.76, NULL, NULL, NULL, NULL, 2.666666667, NULL),
(61, 'cost+quality', NULL, NULL, NULL, NULL, 0.0676, NULL, NULL, NULL, 'missing: quality', NULL, 'Grok Code Fast 1', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.0676, NULL, NULL, NULL, NULL, 0.416666667, NULL),
(62, 'cost+quality', NULL, NULL, NULL, NULL, 0.242, NULL, NULL, NULL, 'missing: quality', NULL, 'Kimi K2', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.242, NULL, NULL, NULL, NULL, 0.916666667, NULL),
(63, 'cost+quality', NULL, NULL, NULL, NULL, 0.208, NULL, NULL, NULL, 'missing: quality', NULL, 'Kimi K2.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.208, NULL, NULL, NULL, NULL, 1, NULL),
(64, 'cost+quality', NULL, NULL, NULL, NULL, 0.3158, NULL, NULL, NULL, 'missing: quality', NULL, 'Kimi K2.6', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.3158, NULL, NULL, NULL, NULL, 1.458333333, NULL),
(65, 'cost+quality', NULL, NULL, NULL, NULL, 0.3422, NULL, NULL, NULL, 'missing: quality', NULL, 'Kimi K2.7 Code', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.3422, NULL, NULL, NULL, NULL, 1.458333333, NULL),
(66, 'cost+quality', NULL, NULL, NULL, NULL, 0.242, NULL, NULL, NULL, 'missing: quality', NULL, 'Kimi K2 Thinking', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.242, NULL, NULL, NULL, NULL, 0.916666667, NULL),
(67, 'cost+quality', NULL, NULL, NULL, NULL, 0.864, NULL, NULL, NULL, 'missing: quality', NULL, 'Kimi K3', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.864, NULL, NULL, NULL, NULL, 5, NULL),
(68, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 5.24, 'missing: cost', NULL, 'Llama 4 Maverick', 'SWE-Bench Pro | Public set, Scale leaderboard', 5.24, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(69, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost', NULL, 'MiMo V2.5 Pro', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(70, 'cost+quality', NULL, NULL, NULL, NULL, 0.08415, NULL, NULL, NULL, 'missing: quality', NULL, 'MiniMax M2', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.08415, NULL, NULL, NULL, NULL, 0.48125, NULL),
(71, 'cost+quality', 1, 0.3681, 0.768736, NULL, 0.08415, NULL, NULL, 36.81, 'eligible', NULL, 'MiniMax M2.1', 'SWE-Bench Pro | Public set, Scale leaderboard', 36.81, 'usd_per_mtok', 0.08415, NULL, NULL, 1, 0.524, 0.48125, NULL),
(72, 'cost+quality', NULL, NULL, NULL, NULL, 0.08415, NULL, NULL, NULL, 'missing: quality', NULL, 'MiniMax M2.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.08415, NULL, NULL, NULL, NULL, 0.48125, NULL),
(73, 'cost+quality', NULL, NULL, NULL, NULL, 0.1068, NULL, NULL, NULL, 'missing: quality', NULL, 'MiniMax M3', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.1068, NULL, NULL, NULL, NULL, 0.45, NULL),
(74, 'cost+quality', NULL, NULL, NULL, NULL, 0.1736, NULL, NULL, NULL, 'missing: quality', NULL, 'Mistral Large 4', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.1736, NULL, NULL, NULL, NULL, 0.933333333, NULL),
(75, 'cost+quality', NULL, NULL, NULL, NULL, 0.432, NULL, NULL, NULL, 'missing: quality', NULL, 'Mistral Medium 3.5', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.432, NULL, NULL, NULL, NULL, 2.5, NULL),
(76, 'cost+quality', NULL, NULL, NULL, NULL, 0.342, NULL, NULL, NULL, 'missing: quality', NULL, 'Muse Spark 1.3', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.342, NULL, NULL, NULL, NULL, 1.75, NULL),
(77, 'cost+quality', NULL, NULL, NULL, NULL, 0.8, NULL, NULL, NULL, 'missing: quality', NULL, 'o3', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.8, NULL, NULL, NULL, NULL, 3, NULL),
(78, 'cost+quality', NULL, NULL, NULL, NULL, 21.2, NULL, NULL, NULL, 'missing: quality', NULL, 'o3-pro', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 21.2, NULL, NULL, NULL, NULL, 30, NULL),
(79, 'cost+quality', NULL, NULL, NULL, NULL, 0.44, NULL, NULL, NULL, 'missing: quality', NULL, 'o4-mini', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.44, NULL, NULL, NULL, NULL, 1.65, NULL),
(80, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost', NULL, 'Qwen 3.5 (397B)', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(81, 'cost+quality', NULL, NULL, NULL, NULL, 0.54, NULL, NULL, NULL, 'missing: quality', NULL, 'Qwen3.8 Max', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.54, NULL, NULL, NULL, NULL, 2.666666667, NULL),
(82, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 38.7, 'missing: cost', NULL, 'Qwen3 Coder 480B', 'SWE-Bench Pro | Public set, Scale leaderboard', 38.7, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(83, 'cost+quality', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost', NULL, 'Step 3.5 Flash', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
(84, 'cost+quality', NULL, NULL, NULL, NULL, 0.276, NULL, NULL, NULL, 'missing: quality', NULL, 'SWE-1.7', 'SWE-Bench Pro | Public set, Scale leaderboard', NULL, 'usd_per_mtok', 0.276, NULL, NULL, NULL, NULL, 0.833333333, NULL),
(1, 'cost+quality+latency', 2, 0.649, 0.446488, 0.325995, 0.9015, NULL, NULL, 64.9, 'eligible', NULL, 'Claude 3.7 Sonnet', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 64.9, 'usd_per_task', 0.1637, 's_per_task', 105.2, 0, 0, 5.3125, NULL),
(2, 'cost+quality+latency', NULL, NULL, NULL, NULL, 2.345, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Fable 5.1', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 17.708333333, NULL),
(3, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.876, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Fable 5.2', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 14.166666667, NULL),
(4, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.3005, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Haiku 4.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.770833333, NULL),
(5, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.03005, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Haiku 5.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.177083333, NULL),
(6, 'cost+quality+latency', 1, 0.72, 0.38358, 0.451854, 4.5075, NULL, NULL, 72, 'eligible', NULL, 'Claude Opus 4', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 72, 'usd_per_task', 0.2922, 's_per_task', 44.1, 1, 0, 26.5625, NULL),
(7, 'cost+quality+latency', NULL, NULL, NULL, NULL, 4.5075, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 4.1', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 26.5625, NULL),
(8, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 4.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 8.854166667, NULL),
(9, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 4.6', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 8.854166667, NULL),
(10, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 4.7', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 8.854166667, NULL),
(11, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 4.8', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 8.854166667, NULL),
(12, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.5025, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 8.854166667, NULL),
(13, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.026, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Opus 5.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 7.083333333, NULL),
(14, 'cost+quality+latency', 2, 0.613, 0.481938, 0.365818, 0.9015, NULL, NULL, 61.3, 'eligible', NULL, 'Claude Sonnet 4', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 61.3, 'usd_per_task', 0.1181, 's_per_task', 79.9, 0, 0, 5.3125, NULL),
(15, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.9015, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Sonnet 4.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 5.3125, NULL),
(16, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.9015, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Sonnet 4.6', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 5.3125, NULL);
INSERT INTO unified_model_provider_pareto_offers (ledger_row_id, objectives, front_rank, quality_component, cost_component, latency_component, blended_cost_usd_per_mtok, runtime_latency_ms, runtime_quality_score, benchmark_quality_score, eligibility, runtime_source_path, source_model, quality_name, quality, cost_basis, cost_usd, latency_basis, latency, frontier_probability, weight_win_share, blended_cost_without_cache_reads_usd_per_mtok, runtime_requests) VALUES
(17, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.601, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Sonnet 5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.541666667, NULL),
(18, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.513, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Claude Sonnet 5.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.541666667, NULL),
(19, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'codex/gpt-5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.708333333, NULL),
(20, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.6, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Codex Mini', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.25, NULL),
(21, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.276, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Composer 2.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.833333333, NULL),
(22, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.06104, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'deepseek/deepseek-v3.2-exp', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.303333333, NULL),
(23, 'cost+quality+latency', 1, 0.702, 0.852457, 0.327656, 0.06104, NULL, NULL, 70.2, 'eligible', NULL, 'DeepSeek V3.2-Exp (Chat)', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 70.2, 'usd_per_task', 0.003892, 's_per_task', 104, 1, 0.416, 0.303333333, NULL),
(24, 'cost+quality+latency', 1, 0.742, 0.80918, 0.178603, 0.06104, NULL, NULL, 74.2, 'eligible', NULL, 'DeepSeek V3.2-Exp (Reasoner)', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 74.2, 'usd_per_task', 0.005798, 's_per_task', 291.2, 0.842, 0.017, 0.303333333, NULL),
(25, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.02964, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'DeepSeek V4 Flash', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.225, NULL),
(26, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.12496, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'DeepSeek V4 Pro', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.88, NULL),
(27, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.1152, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Devstral 2', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.666666667, NULL),
(28, 'cost+quality+latency', 1, 0.551, 0.604883, 0.422804, 0.1064, NULL, NULL, 55.1, 'eligible', NULL, 'Gemini 2.5 Flash', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 55.1, 'usd_per_task', 0.03806, 's_per_task', 53.9, 1, 0, 0.666666667, NULL),
(29, 'cost+quality+latency', 2, 0.831, 0.413559, 0.232773, 0.435, NULL, NULL, 83.1, 'eligible', NULL, 'Gemini 2.5 Pro', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 83.1, 'usd_per_task', 0.2217, 's_per_task', 200.3, 0.026, 0, 2.708333333, NULL),
(30, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.616, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Gemini 3.1 Pro', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.666666667, NULL),
(31, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.216, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Gemini 3.8 Flash', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.25, NULL),
(32, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.488, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Gemini 4 Argon', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.333333333, NULL),
(33, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.2008, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GLM-4.6', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.866666667, NULL),
(34, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.2008, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GLM-4.7', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.866666667, NULL),
(35, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GLM-4.7 Flash', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, NULL, NULL),
(36, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.34, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GLM-5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.366666667, NULL),
(37, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.4568, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GLM-5.1', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.9, NULL),
(38, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.4568, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GLM-5.3', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.9, NULL),
(39, 'cost+quality+latency', 1, 0.524, 0.589631, 0.562749, 0.8, NULL, NULL, 52.4, 'eligible', NULL, 'GPT-4.1', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 52.4, 'usd_per_task', 0.0438, 's_per_task', 20.5, 1, 0.221, 3, NULL),
(40, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.435, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.1 Codex Max', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.708333333, NULL),
(41, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.087, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.1 Codex Mini', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.541666667, NULL),
(42, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.609, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.2 Codex', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.791666667, NULL),
(43, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.609, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.3 Codex', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.791666667, NULL),
(44, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.3 Codex Spark', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, NULL, NULL),
(45, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.77, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.4', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 4.583333333, NULL),
(46, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.231, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.4 Mini', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.375, NULL),
(47, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.54, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 9.166666667, NULL),
(48, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.0641, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.6 Luna', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.3875, NULL),
(49, 'cost+quality+latency', NULL, NULL, NULL, NULL, 1.202, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5.6 Sol', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 7.083333333, NULL),
(50, 'cost+quality+latency', 1, 0.88, 0.4721, 0.237399, 0.435, NULL, NULL, 88, 'eligible', NULL, 'GPT-5 (high)', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 88, 'usd_per_task', 0.1293, 's_per_task', 194, 0.628, 0.043, 2.708333333, NULL),
(51, 'cost+quality+latency', 1, 0.813, 0.584098, 0.401605, 0.435, NULL, NULL, 81.3, 'eligible', NULL, 'GPT-5 (low)', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 81.3, 'usd_per_task', 0.04609, 's_per_task', 62.4, 1, 0.143, 2.708333333, NULL),
(52, 'cost+quality+latency', 1, 0.867, 0.526089, 0.308516, 0.435, NULL, NULL, 86.7, 'eligible', NULL, 'GPT-5 (medium)', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 86.7, 'usd_per_task', 0.07864, 's_per_task', 118.7, 0.926, 0.121, 2.708333333, NULL),
(53, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.087, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-5 Mini', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.541666667, NULL),
(54, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.513, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-6.1 Sol', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.541666667, NULL),
(55, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.2565, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-6.1 Terra', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.770833333, NULL),
(56, 'cost+quality+latency', NULL, NULL, NULL, NULL, 3.005, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-6 Astra', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 17.708333333, NULL),
(57, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.03005, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-6 Luna', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.177083333, NULL),
(58, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.601, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'GPT-6 Sol', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 3.541666667, NULL),
(59, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.584, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Grok 4.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.666666667, NULL),
(60, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.76, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Grok 4.7', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.666666667, NULL),
(61, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.0676, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Grok Code Fast 1', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.416666667, NULL),
(62, 'cost+quality+latency', 1, 0.591, 0.815067, 0.390018, 0.242, NULL, NULL, 59.1, 'eligible', NULL, 'Kimi K2', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 59.1, 'usd_per_task', 0.005492, 's_per_task', 67.6, 1, 0.039, 0.916666667, NULL),
(63, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.208, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Kimi K2.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1, NULL),
(64, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.3158, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Kimi K2.6', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.458333333, NULL),
(65, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.3422, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Kimi K2.7 Code', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.458333333, NULL),
(66, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.242, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Kimi K2 Thinking', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.916666667, NULL),
(67, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.864, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Kimi K3', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 5, NULL),
(68, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 15.6, 'missing: cost', NULL, 'Llama 4 Maverick', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 15.6, 'usd_per_task', NULL, 's_per_task', 20.5, NULL, NULL, NULL, NULL),
(69, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'MiMo V2.5 Pro', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, NULL, NULL),
(70, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.08415, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'MiniMax M2', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.48125, NULL),
(71, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.08415, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'MiniMax M2.1', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.48125, NULL),
(72, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.08415, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'MiniMax M2.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.48125, NULL),
(73, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.1068, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'MiniMax M3', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.45, NULL),
(74, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.1736, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Mistral Large 4', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.933333333, NULL),
(75, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.432, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Mistral Medium 3.5', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.5, NULL),
(76, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.342, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Muse Spark 1.3', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 1.75, NULL),
(77, 'cost+quality+latency', 2, 0.813, 0.506326, 0.234958, 0.8, NULL, NULL, 81.3, 'eligible', NULL, 'o3', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 81.3, 'usd_per_task', 0.09434, 's_per_task', 197.3, 0.048, 0, 3, NULL),
(78, 'cost+quality+latency', 2, 0.849, 0.296722, 0.115918, 21.2, NULL, NULL, 84.9, 'eligible', NULL, 'o3-pro', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 84.9, 'usd_per_task', 0.6503, 's_per_task', 449, 0.082, 0, 30, NULL),
(79, 'cost+quality+latency', 2, 0.72, 0.514759, 0.251085, 0.44, NULL, NULL, 72, 'eligible', NULL, 'o4-mini', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', 72, 'usd_per_task', 0.08729, 's_per_task', 176.5, 0, 0, 1.65, NULL),
(80, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Qwen 3.5 (397B)', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, NULL, NULL),
(81, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.54, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Qwen3.8 Max', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 2.666666667, NULL),
(82, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Qwen3 Coder 480B', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, NULL, NULL),
(83, 'cost+quality+latency', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'Step 3.5 Flash', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, NULL, NULL),
(84, 'cost+quality+latency', NULL, NULL, NULL, NULL, 0.276, NULL, NULL, NULL, 'missing: quality, cost, latency', NULL, 'SWE-1.7', 'Aider Polyglot pass rate | 225 exercises, two tries; best run / other setting', NULL, 'usd_per_task', NULL, 's_per_task', NULL, NULL, NULL, 0.833333333, NULL);

CREATE VIEW unified_model_provider_pareto AS
WITH
weights (objectives, quality_weight, cost_weight, latency_weight) AS (
    VALUES
    ('cost+quality', 0.6, 0.4, 0),
    ('cost+quality+latency', 0.5, 0.3, 0.2)
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
    offer.quality_component,
    offer.cost_component,
    offer.latency_component,
    offer.blended_cost_usd_per_mtok,
    offer.runtime_latency_ms,
    offer.runtime_quality_score,
    offer.benchmark_quality_score,
    offer.eligibility,
    offer.runtime_source_path,
    offer.source_model,
    offer.quality_name,
    offer.quality,
    offer.cost_basis,
    offer.cost_usd,
    offer.latency_basis,
    offer.latency,
    offer.frontier_probability,
    offer.weight_win_share,
    offer.blended_cost_without_cache_reads_usd_per_mtok,
    offer.runtime_requests
FROM unified_model_provider_pareto_offers AS offer
JOIN unified_model_provider_ledger AS ledger ON ledger.ledger_row_id = offer.ledger_row_id
JOIN weights ON weights.objectives = offer.objectives
LEFT JOIN counted ON counted.ledger_row_id = offer.ledger_row_id AND counted.objectives = offer.objectives
LEFT JOIN examples
       ON examples.ledger_row_id = offer.ledger_row_id AND examples.objectives = offer.objectives AND examples.place = 1
LEFT JOIN unified_model_provider_ledger AS example ON example.ledger_row_id = examples.other_id
ORDER BY offer.objectives, offer.ledger_row_id;

COMMIT;

-- Model seed: one row per benchmark row and model of the table, in the table's order. Made by a program, not by hand.
-- Loads in SQLite and in DuckDB; loading it again replaces the table.
-- Missing: {missing}.
-- Any other value is split once at its first slash; what stands in the table is kept in raw_value.

BEGIN TRANSACTION;

DROP TABLE IF EXISTS model_benchmark_values;

CREATE TABLE model_benchmark_values (
    row_id INTEGER NOT NULL PRIMARY KEY,  -- from 1, row by row, from left to right
    benchmark TEXT NOT NULL,  -- first column of the row
    notes_configuration TEXT NOT NULL,  -- second column of the row: unit, harness or set
    model TEXT NOT NULL,  -- the column's header, as text
    raw_value TEXT NOT NULL,  -- the cell as written, trimmed; '' where the row ended before it
    value_primary TEXT,  -- the cell, or its part before the slash; NULL where missing
    value_secondary TEXT,  -- the part after the slash; NULL without one
    split_kind TEXT NOT NULL CHECK (split_kind IN ('none', 'slash')),
    is_missing INTEGER NOT NULL CHECK (is_missing IN (0, 1)),  -- 1: the cell holds no value
    source_row_index INTEGER NOT NULL,  -- line in the file, from 1
    source_col_index INTEGER NOT NULL,  -- column of the table, from 1
    source_col_name TEXT NOT NULL  -- the column's header as written
);

{inserts}COMMIT;

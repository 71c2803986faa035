-- Content digest and figures of one Parquet file; the digest does not depend on the file's bytes or row order.
-- DuckDB may hash otherwise in another version: a table built anew then has another digest, once.
SELECT
    count(*),
    md5(concat_ws(' ', count(*), sum(hash(t)), bit_xor(hash(t)))),
    CAST(coalesce({tokens}, 0) AS BIGINT),
    CAST(coalesce({price}, 0) AS DECIMAL(38, 9))
FROM read_parquet({path}) AS t

-- What is remembered of prompts between two readings. No column holds a word that anybody typed: digests are keyed.

-- schema
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
-- state: size, times and inode as they were when the file was read; session and ancestors: its lineage, as JSON
CREATE TABLE files (
  file_no INTEGER PRIMARY KEY, client TEXT NOT NULL, path TEXT NOT NULL, state TEXT NOT NULL, is_gone INTEGER NOT NULL,
  lineage TEXT, skipped TEXT NOT NULL, UNIQUE (client, path)
);
CREATE TABLE prompts (
  file_no INTEGER NOT NULL, ordinal INTEGER NOT NULL, session_id TEXT NOT NULL, identity BLOB NOT NULL,
  digest BLOB NOT NULL, time_us INTEGER NOT NULL, source INTEGER NOT NULL, is_copied INTEGER NOT NULL,
  PRIMARY KEY (file_no, ordinal)
) WITHOUT ROWID;
-- what the tables above come to: rewritten for a client whenever one of its files changed
CREATE TABLE sessions (
  client TEXT NOT NULL, session_id TEXT NOT NULL, started_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
  prompt_count INTEGER NOT NULL, digest TEXT NOT NULL, files TEXT NOT NULL, PRIMARY KEY (client, session_id)
) WITHOUT ROWID;
CREATE TABLE told (
  client TEXT NOT NULL, session_id TEXT NOT NULL, place INTEGER NOT NULL, digest BLOB NOT NULL, file_no INTEGER NOT NULL,
  PRIMARY KEY (client, session_id, place)
) WITHOUT ROWID;

-- dated
UPDATE prompts SET time_us = coalesce(
  (SELECT min(p.time_us) FROM prompts p WHERE p.file_no = :file_no AND p.time_us <> :untimed), :file_us
) WHERE file_no = :file_no AND time_us = :untimed;

-- candidates
-- rows of one client, each under the session and identity that its file's lineage gives it, of each session's best source
CREATE TEMP TABLE candidates AS
WITH placed AS (
  SELECT p.file_no, p.ordinal, f.path, coalesce(l.session_id, p.session_id) AS session_id,
    coalesce(l.identity, p.identity) AS identity, p.digest, p.time_us, p.source, p.is_copied
  FROM prompts p JOIN files f USING (file_no) LEFT JOIN temp.inherited l USING (file_no, ordinal)
  WHERE f.client = :client AND coalesce(l.is_dropped, 0) = 0
), best AS (
  SELECT *, min(source) OVER (PARTITION BY session_id) AS best_source FROM placed
)
SELECT *, min(is_copied) OVER (PARTITION BY identity) AS least_copied FROM best WHERE source = best_source;

-- contested
-- prompts that several sessions show, none of which is known to be a copy
SELECT identity, min(time_us), json_group_array(DISTINCT session_id) FROM temp.candidates
WHERE is_copied = least_copied GROUP BY identity HAVING count(DISTINCT session_id) > 1 ORDER BY 2, 1;

-- own_first
-- when each session first shows a prompt that no other shows
SELECT min(session_id), min(time_us) FROM (
  SELECT identity, min(session_id) AS session_id, min(time_us) AS time_us FROM temp.candidates
  WHERE is_copied = least_copied GROUP BY identity HAVING count(DISTINCT session_id) = 1
) GROUP BY session_id;

-- owned
-- each prompt once, under its owner, in order of time
WITH ranked AS (
  SELECT c.*, row_number() OVER (
    PARTITION BY identity ORDER BY c.session_id IS NOT o.session_id AND o.session_id IS NOT NULL, c.is_copied,
      f.is_gone, c.time_us, c.path, c.ordinal
  ) AS place
  FROM temp.candidates c JOIN files f USING (file_no) LEFT JOIN temp.owners o USING (identity)
)
SELECT session_id, time_us, digest, file_no FROM ranked WHERE place = 1
ORDER BY session_id, time_us, ordinal, path;

-- ledger_order
-- when each session that competed for a request first shows one of its own, as the ledger has it
SELECT s.session_id, o.own_first_us FROM session_order o JOIN sessions s USING (session_no) WHERE s.client = ?;

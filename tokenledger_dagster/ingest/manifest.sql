-- The manifest: what is known of every source, which segments hold which records, and the booked state that
-- reports are answered from.  Times are integer microseconds UTC, money integer nano-USD, tokens integers.

CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS extra_sources (client TEXT NOT NULL, path TEXT NOT NULL, PRIMARY KEY (client, path));

-- One row per content line of a file; it survives moves, archiving and compression.
CREATE TABLE IF NOT EXISTS sources (
  source_no INTEGER PRIMARY KEY,
  source_id TEXT NOT NULL UNIQUE,
  client TEXT NOT NULL,
  path TEXT NOT NULL,
  relative TEXT NOT NULL,
  origin TEXT NOT NULL,
  status TEXT NOT NULL,             -- present | missing
  device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
  ctime_ns INTEGER NOT NULL,
  encoding TEXT NOT NULL,           -- plain | gzip | zstd | utf16
  head_hash TEXT NOT NULL, head_length INTEGER NOT NULL,
  read_offset INTEGER NOT NULL,     -- uncompressed bytes consumed
  tail_hash TEXT NOT NULL, tail_length INTEGER NOT NULL,
  stream_no INTEGER NOT NULL,
  chain TEXT NOT NULL,              -- digest over (offset, hash) of the stream's records (ingest.scan) ...
  chain_length INTEGER NOT NULL,    -- ... and how many these are
  carry BLOB NOT NULL,
  first_seen_us INTEGER NOT NULL, last_seen_us INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS sources_path ON sources(path);

-- One reading of a source from its start: a rewritten file gets a new stream, the old one's records stay.
CREATE TABLE IF NOT EXISTS streams (
  stream_no INTEGER PRIMARY KEY,
  source_no INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  client TEXT NOT NULL,
  stem TEXT NOT NULL,
  parser_version INTEGER NOT NULL,
  archived INTEGER NOT NULL,
  subagent INTEGER NOT NULL,
  session TEXT,                     -- the session the file is, where the client has one per file
  copied_rule TEXT NOT NULL,        -- rule under which rows copied from the parent lose
  vectors BLOB,                     -- eight bytes a record, for finding copied prefixes; null until somebody asked
  lineage TEXT NOT NULL             -- JSON runs [end ordinal, owner session, rule]
);
CREATE INDEX IF NOT EXISTS streams_session ON streams(session) WHERE session IS NOT NULL;
CREATE INDEX IF NOT EXISTS streams_stem ON streams(stem);

-- Sessions whose history a stream may begin with: its parent, and those its embedded history names, nearest first.
CREATE TABLE IF NOT EXISTS stream_ancestors (
  session TEXT NOT NULL, stream_no INTEGER NOT NULL, place INTEGER NOT NULL, PRIMARY KEY (session, stream_no)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stream_ancestors_stream ON stream_ancestors(stream_no);

CREATE TABLE IF NOT EXISTS segments (
  segment_no INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,        -- path below the lake
  format TEXT NOT NULL,             -- journal | parquet
  sha256 TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  row_count INTEGER NOT NULL,
  first_rid INTEGER NOT NULL, last_rid INTEGER NOT NULL,
  created_us INTEGER NOT NULL
);

-- Parquet segments replaced by a merge: readers that opened them before may still want the file for a while.
CREATE TABLE IF NOT EXISTS retired (name TEXT PRIMARY KEY, retired_us INTEGER NOT NULL) WITHOUT ROWID;

-- Records kept as columns in the journal because their own file tells all about them (ingest.packs).
CREATE TABLE IF NOT EXISTS packs (
  pack_no INTEGER PRIMARY KEY,
  stream_no INTEGER NOT NULL,
  first_rid INTEGER NOT NULL, row_count INTEGER NOT NULL,
  segment TEXT NOT NULL, place INTEGER NOT NULL, length INTEGER NOT NULL,  -- where the body lies in the journal
  keys BLOB NOT NULL,               -- 32 bits an event: key of its booking group
  checks BLOB NOT NULL,             -- 32 bits an event: rest of its identity
  times BLOB NOT NULL,              -- 64 bits an event: microseconds
  states BLOB NOT NULL,             -- 8 bits an event (clients.pack)
  weak BLOB NOT NULL,               -- sums of the events that another file's row may stand for
  digest INTEGER NOT NULL           -- CRC-32 of the body
);
CREATE INDEX IF NOT EXISTS packs_stream ON packs(stream_no);
CREATE INDEX IF NOT EXISTS packs_segment ON packs(segment);
CREATE TABLE IF NOT EXISTS pack_sessions (
  session_no INTEGER NOT NULL, pack_no INTEGER NOT NULL, PRIMARY KEY (session_no, pack_no)
) WITHOUT ROWID;
-- Keys of the booking groups of all records that stand in the table records.
CREATE TABLE IF NOT EXISTS settled_keys (run_no INTEGER PRIMARY KEY, keys BLOB NOT NULL);

-- What booking knows of each record of the lake that is in no pack; event_no and rule are booking's verdict.
CREATE TABLE IF NOT EXISTS records (
  rid INTEGER PRIMARY KEY,
  grp INTEGER NOT NULL,
  stream_no INTEGER NOT NULL,
  session_no INTEGER NOT NULL,
  copy BLOB NOT NULL,
  event_no INTEGER,                 -- the event it belongs to; null where no event owns it
  rule TEXT                         -- null = this record is the event's winner
);
CREATE INDEX IF NOT EXISTS records_grp ON records(grp);

-- Runs of records by stream, so that a stream's records are found without an index of their own.
CREATE TABLE IF NOT EXISTS stream_runs (stream_no INTEGER NOT NULL, first_rid INTEGER NOT NULL, last_rid INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS stream_runs_stream ON stream_runs(stream_no);
CREATE INDEX IF NOT EXISTS stream_runs_last ON stream_runs(last_rid);

-- Names under which sources know each other's requests (ingest.witnesses).
CREATE TABLE IF NOT EXISTS links (
  link INTEGER NOT NULL,            -- hash of the name
  source_rank INTEGER NOT NULL, rid INTEGER NOT NULL,
  names_request INTEGER NOT NULL,   -- 0 where the name is that of a stretch of time
  PRIMARY KEY (link, source_rank, rid)  -- better sources of a request are found at once
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS links_rid ON links(rid);
-- Sessions that another source tells of too, so that their client's records stand one by one.
CREATE TABLE IF NOT EXISTS joined_sessions (
  client TEXT NOT NULL, session_id TEXT NOT NULL, PRIMARY KEY (client, session_id)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS sessions (
  session_no INTEGER PRIMARY KEY,
  client TEXT NOT NULL,
  session_id TEXT NOT NULL,
  first_us INTEGER,                 -- earliest row that names the session
  project_us INTEGER, project TEXT, -- working folder of the earliest row that has one
  UNIQUE (client, session_id)
);
-- Groups that rows of several sessions share; only there does ownership have to be decided.
CREATE TABLE IF NOT EXISTS shared_groups (session_no INTEGER NOT NULL, grp INTEGER NOT NULL, PRIMARY KEY (session_no, grp)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS shared_groups_grp ON shared_groups(grp);
CREATE TABLE IF NOT EXISTS session_order (session_no INTEGER PRIMARY KEY, own_first_us INTEGER NOT NULL);

CREATE TABLE IF NOT EXISTS models (
  model_no INTEGER PRIMARY KEY,
  client TEXT NOT NULL, model_raw TEXT, upstream TEXT, provider TEXT NOT NULL, model TEXT NOT NULL, maker TEXT,
  modifiers TEXT NOT NULL, rule TEXT NOT NULL, confidence INTEGER NOT NULL,
  billing_kind TEXT, account_hash TEXT,  -- how the log says that requests were billed, and to whom
  is_reported INTEGER NOT NULL           -- 1 where each request states its own cost
);
CREATE INDEX IF NOT EXISTS models_name ON models(client, model_raw);
-- By UTC month, the price snapshot under which all its events have the prices that they have.
CREATE TABLE IF NOT EXISTS price_months (month TEXT PRIMARY KEY, snapshot_id TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS events (
  event_no INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL,
  grp INTEGER NOT NULL,
  rid INTEGER NOT NULL,             -- the winner
  session_no INTEGER NOT NULL,
  model_no INTEGER NOT NULL,
  timestamp_us INTEGER NOT NULL,
  shared INTEGER NOT NULL,          -- 1 where rows of several sessions are this request
  is_estimated INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, tool_input_tokens INTEGER NOT NULL, tool_output_tokens INTEGER NOT NULL,
  cache_write_1h_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, web_search_requests INTEGER NOT NULL,
  booking_flags TEXT NOT NULL,      -- what booking had to assume, separated by commas
  channel TEXT NOT NULL,            -- price list's provider id the rate was looked up under
  list_price_nano INTEGER,          -- null = unpriced
  list_basis TEXT, price_confidence INTEGER NOT NULL,
  requested_context TEXT NOT NULL, priced_context TEXT NOT NULL, unpriced_reason TEXT,
  reported_nano INTEGER NOT NULL    -- what the log says it cost; 0 = nothing
);
CREATE INDEX IF NOT EXISTS events_grp ON events(grp);

-- Sums by quarter hour, from which any time zone and any 5-hour block is answered.
CREATE TABLE IF NOT EXISTS slots (
  slot INTEGER NOT NULL,            -- quarter hours since 1970-01-01 UTC
  session_no INTEGER NOT NULL, model_no INTEGER NOT NULL, is_estimated INTEGER NOT NULL,
  event_count INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, tool_input_tokens INTEGER NOT NULL, tool_output_tokens INTEGER NOT NULL,
  cache_write_1h_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, web_search_requests INTEGER NOT NULL,
  list_price_nano INTEGER NOT NULL,
  unpriced_count INTEGER NOT NULL, unpriced_tokens INTEGER NOT NULL, reported_nano INTEGER NOT NULL,
  PRIMARY KEY (slot, session_no, model_no, is_estimated)
) WITHOUT ROWID;

-- The same by day of the configured time zone, from which most reports are answered.
CREATE TABLE IF NOT EXISTS cells (
  day INTEGER NOT NULL,             -- days since 1970-01-01 in the zone named in meta
  session_no INTEGER NOT NULL, model_no INTEGER NOT NULL, is_estimated INTEGER NOT NULL,
  event_count INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cache_write_tokens INTEGER NOT NULL,
  cache_read_tokens INTEGER NOT NULL, tool_input_tokens INTEGER NOT NULL, tool_output_tokens INTEGER NOT NULL,
  cache_write_1h_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL, web_search_requests INTEGER NOT NULL,
  list_price_nano INTEGER NOT NULL,
  unpriced_count INTEGER NOT NULL, unpriced_tokens INTEGER NOT NULL, reported_nano INTEGER NOT NULL,
  PRIMARY KEY (day, session_no, model_no, is_estimated)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS quarantine (
  stream_no INTEGER NOT NULL, byte_offset INTEGER NOT NULL, byte_length INTEGER NOT NULL,
  record_sha256 TEXT NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY (stream_no, byte_offset, record_sha256)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS skips (
  stream_no INTEGER NOT NULL, reason TEXT NOT NULL, row_count INTEGER NOT NULL, PRIMARY KEY (stream_no, reason)
) WITHOUT ROWID;

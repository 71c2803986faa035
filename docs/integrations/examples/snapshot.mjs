// TokenLedger's published files for programs in JavaScript: the same rules as status_bar.py, tested on the same files.
//
// Here: finding and reading ui-snapshot.json and orchestrate-latest-summary.json, and one line of text. Not here: any
// figure. Node 18 or later or Bun, no package. `node snapshot.mjs [--home DIR] [--now SECONDS]` prints state and text.

import { closeSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const SUPPORTED = 1;
const LARGEST_BYTES = 4 << 20;
const STALE_AFTER_S = 3600;

/** Where TokenLedger publishes. */
export function home(environ = process.env, system = process.platform) {
  if (environ.TOKENLEDGER_HOME) return environ.TOKENLEDGER_HOME;
  if (environ.XDG_DATA_HOME?.startsWith("/")) return join(environ.XDG_DATA_HOME, "tokenledger");
  const data = system === "darwin" ? "Library/Application Support" : ".local/share";
  return join(environ.HOME ?? "", data, "tokenledger");
}

/** A document of a version that this program knows: {state, document}; never throws for what lies there. */
export function read(path) {
  let data;
  try {
    data = bytes(path);
  } catch (error) {
    return { state: error.code === "ENOENT" || error.code === "ENOTDIR" ? "absent" : "damaged", document: null };
  }
  let document;
  try {
    document = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data));
  } catch {
    return { state: "damaged", document: null };
  }
  if (!isObject(document) || !isCount(document.schema_version)) return { state: "damaged", document: null };
  return document.schema_version === SUPPORTED ? { state: "ok", document } : { state: "unsupported", document: null };
}

/** What to show of a home at a time in seconds since 1970: {state, text, failed_checks}; no text means nothing. */
export function line(folder, now = Date.now() / 1000, staleAfter = STALE_AFTER_S) {
  const snapshot = read(join(folder, "ui-snapshot.json"));
  if (snapshot.state === "unsupported") return told("unsupported", "TokenLedger: update this extension");
  if (snapshot.document === null) return told(snapshot.state, "");
  const parts = shown(snapshot.document);
  const made = seconds(snapshot.document.generated_at);
  if (parts === null || made === null) return told("damaged", "");
  const failed = failedChecks(read(join(folder, "orchestrate-latest-summary.json")));
  const age = Math.max(now - made, 0);
  const isStale = age > staleAfter;
  if (isStale) parts.push(old(age));
  if (failed) parts.push(`${failed} checks failed`);
  return told(isStale ? "stale" : "ok", parts.join(" | "), failed);
}

function told(state, text, failed = 0) {
  return { state, text, failed_checks: failed };
}

function bytes(path) {
  const handle = openSync(path, "r");
  try {
    const buffer = Buffer.alloc(LARGEST_BYTES + 1);
    let length = 0;
    for (let count = 1; count > 0 && length < buffer.length; length += count) {
      count = readSync(handle, buffer, length, buffer.length - length, null);
    }
    if (length > LARGEST_BYTES) throw new Error("too large");
    return buffer.subarray(0, length);
  } finally {
    closeSync(handle);
  }
}

function shown({ month, totals, top_models: models }) {
  if (typeof month !== "string" || !isObject(totals) || !Array.isArray(models)) return null;
  if (!isNumber(totals.cost_usd) || !isCount(totals.tokens)) return null;
  const name = models[0]?.name;
  return [clean(month), usd(totals.cost_usd), tokens(totals.tokens), ...(typeof name === "string" ? [clean(name)] : [])];
}

function failedChecks({ document }) {
  const failed = document?.checks?.failed;
  return isCount(failed) ? failed : 0;
}

function usd(value) {
  const cents = Math.floor(value * 100 + 0.5);
  return `$${Math.floor(cents / 100)}.${String(cents % 100).padStart(2, "0")}`;
}

function tokens(count) {
  for (const [size, unit] of [[1e9, "B"], [1e6, "M"], [1e3, "k"]]) {
    if (count >= size) {
      const tenths = Math.floor((count * 10) / size);
      return `${Math.floor(tenths / 10)}.${tenths % 10}${unit} tokens`;
    }
  }
  return `${count} tokens`;
}

function old(age) {
  return age < 2 * 86400 ? `${Math.floor(age / 3600)} h old` : `${Math.floor(age / 86400)} d old`;
}

function seconds(value) {
  if (typeof value !== "string" || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value)) return null;
  const found = Date.parse(value) / 1000;
  return Number.isNaN(found) ? null : found;
}

/** A name from somebody's log, without what would steer a terminal, at most 40 letters. */
function clean(text) {
  return [...text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "")].slice(0, 40).join("");
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function isCount(value) {
  return isNumber(value) && Number.isInteger(value);
}

function option(name, otherwise) {
  const place = process.argv.indexOf(name);
  return place < 0 ? otherwise : process.argv[place + 1];
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const now = Number(option("--now", Date.now() / 1000));
  console.log(JSON.stringify(line(option("--home", home()), now)));
}

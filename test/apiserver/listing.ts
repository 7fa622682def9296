/**
 * Lists in pages. The continue token has the version of the first page and the key after which the next page starts, so
 * that all pages together show the set at one moment. Its encoding is kube-apiserver's.
 */
import { type JsonObject, type KubeObject, keyOf } from "./resource.ts";
import { EVERYTHING, type Scope } from "./selector.ts";
import { ApiError, badRequest, continueExpired } from "./status.ts";
import type { ObjectStore } from "./store.ts";

export interface ListPage {
  readonly objects: readonly KubeObject[];
  /** The list's own metadata: resourceVersion; continue and remainingItemCount if there is more. */
  readonly metadata: JsonObject;
}

/**
 * Returns one page of the objects that `scope` selects, according to `query` (limit, continue, resourceVersion,
 * resourceVersionMatch).
 */
export function listPage(store: ObjectStore, query: URLSearchParams, scope: Scope = EVERYTHING): ListPage {
  const token = query.get("continue");
  const version = parseVersion(query);
  const match = query.get("resourceVersionMatch");
  assertMatch(match, version, token);
  let limit = parseCount(query, "limit");
  // Version 0 means "any version": a real server answers from its cache, which does not support pages.
  if (version === 0) limit = 0;

  let at = store.version;
  let after = "";
  if (token) {
    if (version) throw badRequest("specifying resource version is not allowed when using continue");
    ({ version: at, after } = parseContinue(token));
  } else if (version !== undefined && version > 0) {
    if (match === "Exact") at = version;
    // "Not older than `version`": the present version is valid, unless `version` is in the future, which list()
    // rejects.
    else if (version > store.version) at = version;
  }
  const objects = listAt(store, at, token !== null && token !== "").filter(
    (object) => scope.selects(object) && startOf(object, scope) > after,
  );
  const metadata: JsonObject = { resourceVersion: String(at) };
  if (limit === 0 || objects.length <= limit) return { objects, metadata };
  const page = objects.slice(0, limit);
  const last = page.at(-1);
  metadata.continue = formatContinue(at, last === undefined ? "" : startOf(last, scope));
  // A real server does not count how many of the remaining objects are selected.
  if (!scope.isSelective) metadata.remainingItemCount = objects.length - limit;
  return { objects: page, metadata };
}

/** The key of an object within the listed scope: all namespaces, or one. */
function startOf({ metadata }: KubeObject, { namespace }: Scope): string {
  return namespace === undefined ? keyOf(metadata) : metadata.name;
}

function listAt(store: ObjectStore, version: number, continued: boolean): KubeObject[] {
  try {
    return store.list(version);
  } catch (error) {
    if (continued && error instanceof ApiError && error.code === 410) throw continueExpired(version);
    throw error;
  }
}

function assertMatch(match: string | null, version: number | undefined, token: string | null): void {
  if (match === null) return;
  if (match !== "Exact" && match !== "NotOlderThan") throw badRequest(`resourceVersionMatch: unknown value "${match}"`);
  if (token) throw badRequest("resourceVersionMatch is forbidden when continue is provided");
  if (version === undefined) throw badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided");
  if (match === "Exact" && version === 0) throw badRequest("resourceVersionMatch Exact is forbidden for version 0");
}

/** The query's resourceVersion; undefined if absent or empty. Throws 400. */
export function parseVersion(query: URLSearchParams): number | undefined {
  const text = query.get("resourceVersion");
  if (text === null || text === "") return undefined;
  if (!/^\d+$/.test(text)) throw badRequest(`Invalid value: "${text}": resourceVersion is not a number`);
  return Number(text);
}

/** A non-negative number of the query, 0 if absent. Throws 400. */
export function parseCount(query: URLSearchParams, key: string): number {
  const text = query.get(key) ?? "0";
  if (!/^\d{1,9}$/.test(text)) throw badRequest(`Invalid value: "${text}": ${key} is not a number`);
  return Number(text);
}

/** The start key is the last key plus a NUL byte: the smallest greater key. */
export function formatContinue(version: number, lastKey: string): string {
  const token = JSON.stringify({ v: "meta.k8s.io/v1", rv: version, start: `/${lastKey}\0` });
  return Buffer.from(token).toString("base64url");
}

/** Throws 400. */
export function parseContinue(token: string): { version: number; after: string } {
  const bytes = Buffer.from(token, "base64url");
  let content: unknown;
  try {
    content = JSON.parse(bytes.toString("utf8"));
  } catch {
    // Go's decoder reports the first byte that cannot begin a value, as a Latin-1 character.
    const first = bytes.toString("latin1").charAt(0);
    throw badContinue(`invalid character '${first}' looking for beginning of value`);
  }
  const { v, rv, start } = (content ?? {}) as { v?: unknown; rv?: unknown; start?: unknown };
  if (v !== "meta.k8s.io/v1") throw badContinue("server does not recognize this encoded version");
  if (typeof rv !== "number" || typeof start !== "string" || !/^(\/[^/]+){1,2}\0$/.test(start)) {
    throw badContinue("version or start key is missing");
  }
  return { version: rv, after: start.slice(1, -1) };
}

function badContinue(why: string): ApiError {
  return badRequest(`invalid continue token: continue key is not valid: ${why}`);
}

/** The start of a watch, and the format of its events: one JSON object a line. */

import type { Kind } from "./kinds.ts";
import { parseCount, parseVersion } from "./listing.ts";
import { type Form, present, presentBookmark } from "./mediatype.ts";
import type { JsonObject } from "./resource.ts";
import type { Scope } from "./selector.ts";
import { ApiError, badRequest, tooLarge } from "./status.ts";
import type { Change, ObjectStore } from "./store.ts";

export interface WatchQuery {
  readonly scope: Scope;
  readonly form: Form;
  readonly version: number | undefined;
  readonly bookmarks: boolean;
  readonly timeoutSeconds: number;
  /** A streaming list: the present set as ADDED events, then a bookmark that marks its end. */
  readonly initialEvents: boolean;
}

export interface WatchStart {
  /** Lines to send at once. */
  readonly lines: readonly string[];
  /** Changes with a greater version follow; undefined if the watch ends after `lines`. */
  readonly from: number | undefined;
}

/** The duration of a watch without a timeout. A real server chooses between 30 and 60 minutes. */
const DEFAULT_TIMEOUT_SECONDS = 1800;

/** Throws 400, and 504 for a streaming list at a version that this server has not reached. */
export function parseWatch(store: ObjectStore, query: URLSearchParams, form: Form, scope: Scope): WatchQuery {
  const initialEvents = isTrue(query.get("sendInitialEvents"));
  const bookmarks = isTrue(query.get("allowWatchBookmarks"));
  const version = parseVersion(query);
  if (initialEvents) {
    if (query.get("resourceVersionMatch") !== "NotOlderThan") {
      throw badRequest("sendInitialEvents requires resourceVersionMatch NotOlderThan");
    }
    if (!bookmarks) throw badRequest("sendInitialEvents requires allowWatchBookmarks");
    if (version !== undefined && version > store.version) throw tooLarge(version, store.version);
  } else if (query.has("resourceVersionMatch")) {
    throw badRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is set");
  }
  const timeoutSeconds = parseCount(query, "timeoutSeconds") || DEFAULT_TIMEOUT_SECONDS;
  return { scope, form, version, bookmarks, timeoutSeconds, initialEvents };
}

/**
 * Without a version, or with 0, the present set comes first. For a version before the history, the answer is still 200,
 * and its only event is an ERROR. A future version is accepted: no event is sent until it has passed.
 */
export function startWatch(store: ObjectStore, query: WatchQuery): WatchStart {
  const { form, version, scope } = query;
  if (query.initialEvents || !version) {
    const selected = store.list().filter((object) => scope.selects(object));
    const lines = selected.map((object) => formatLine("ADDED", present(object, form)));
    if (query.initialEvents) {
      const end = presentBookmark(store.kind, store.version, form, { "k8s.io/initial-events-end": "true" });
      lines.push(formatLine("BOOKMARK", end));
    }
    return { lines, from: store.version };
  }
  try {
    const lines = store.changesSince(version).flatMap((change) => formatChange(change, query));
    return { lines, from: Math.max(version, store.version) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { lines: [formatLine("ERROR", error.toStatus())], from: undefined };
  }
}

/**
 * The line for a change, if it concerns selected objects. An object that starts to match is ADDED. One that stops
 * matching is DELETED in its old state, at the version of the change.
 */
export function formatChange({ type, version, object, before }: Change, { form, scope }: WatchQuery): string[] {
  const was = before !== undefined && scope.selects(before);
  const is = type !== "DELETED" && scope.selects(object);
  if (is) return [formatLine(was ? "MODIFIED" : "ADDED", present(object, form))];
  if (!was) return [];
  const last = { ...before, metadata: { ...before.metadata, resourceVersion: String(version) } };
  return [formatLine("DELETED", present(last, form))];
}

export function formatBookmark(kind: Kind, version: number, form: Form): string {
  return formatLine("BOOKMARK", presentBookmark(kind, version, form));
}

export function formatLine(type: string, object: JsonObject): string {
  return `${JSON.stringify({ type, object })}\n`;
}

/** Parses a boolean parameter like Go. */
export function isTrue(text: string | null): boolean {
  return text === "1" || text === "true" || text === "t" || text === "T" || text === "True" || text === "TRUE";
}

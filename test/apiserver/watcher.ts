/** One open watch: its events, its bookmarks and its end, on a response of the HTTP server. */
import type { ServerResponse } from "node:http";
import type { ObjectStore } from "./store.ts";
import { formatBookmark, formatChange, startWatch, type WatchQuery } from "./watch.ts";

export interface Watcher {
  /** Ends the answer like a server at its timeout. */
  end(): void;
  /** From now on sends nothing and closes nothing: the other side of a half-open connection. */
  stall(): void;
}

/** A real server sends a last bookmark this long before the watch times out. */
const LAST_BOOKMARK_SECONDS = 2;

/** Answers on `response` until the watch times out or either side ends it. Then calls `onEnd`, once. */
export function openWatcher(
  store: ObjectStore,
  query: WatchQuery,
  response: ServerResponse,
  bookmarkMs: number,
  onEnd: () => void,
): Watcher {
  const { lines, from } = startWatch(store, query);
  response.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-cache, private" });
  response.flushHeaders();
  for (const line of lines) response.write(line);

  let stalled = false;
  const bookmark = () => {
    // A version older than the client's would move the client back in time.
    if (!stalled && store.version >= (from ?? 0)) response.write(formatBookmark(store.kind, store.version, query.form));
  };
  const timers: NodeJS.Timeout[] = [];
  const unsubscribe = store.subscribe((change) => {
    if (stalled || from === undefined || change.version <= from) return;
    for (const line of formatChange(change, query)) response.write(line);
  });
  const watcher: Watcher = {
    end: () => response.end(),
    stall: () => {
      stalled = true;
    },
  };
  response.once("close", () => {
    for (const timer of timers) clearTimeout(timer);
    unsubscribe();
    onEnd();
  });

  if (from === undefined) {
    watcher.end();
    return watcher;
  }
  const { timeoutSeconds } = query;
  timers.push(
    setTimeout(() => {
      if (!stalled) watcher.end();
    }, timeoutSeconds * 1000),
  );
  if (query.bookmarks) {
    timers.push(setInterval(bookmark, bookmarkMs));
    timers.push(setTimeout(bookmark, Math.max(0, timeoutSeconds - LAST_BOOKMARK_SECONDS) * 1000));
  }
  return watcher;
}

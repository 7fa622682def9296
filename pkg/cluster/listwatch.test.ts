/** The loop with a manual clock and an API that a test scripts. */
import { describe, expect, test } from "vitest";
import { KubernetesError } from "./errors.ts";
import {
  LIST_WATCH_DEFAULTS,
  type ListerWatcher,
  ListWatch,
  type Page,
  type WatchHandlers,
  type WatchRequest,
} from "./listwatch.ts";
import { ManualClock } from "./manual-clock.ts";
import type { KubeObject } from "./resource.ts";

type Watch = (request: WatchRequest, handlers: WatchHandlers<KubeObject>, signal: AbortSignal) => Promise<void>;

/** Answers lists and watches from scripts. After their end, a list is empty, and a watch stays open without data. */
class ScriptedApi implements ListerWatcher<KubeObject> {
  readonly subject = "nodes";
  readonly lists: (Page<KubeObject> | Error)[] = [];
  readonly watches: Watch[] = [];
  readonly calls: string[] = [];
  readonly timeouts: number[] = [];

  async listPage(limit: number, next: string | undefined): Promise<Page<KubeObject>> {
    this.calls.push(`list ${limit}${next === undefined ? "" : ` ${next}`}`);
    const answer = this.lists.shift() ?? page([], "1");
    if (answer instanceof Error) throw answer;
    return answer;
  }

  async watch(request: WatchRequest, handlers: WatchHandlers<KubeObject>, signal: AbortSignal = NEVER): Promise<void> {
    this.calls.push(`watch ${request.version}`);
    this.timeouts.push(request.timeoutSeconds);
    const script = this.watches.shift() ?? stayOpen;
    await script(request, handlers, signal);
  }
}

const NEVER = new AbortController().signal;

const stayOpen: Watch = async (_request, handlers, signal) => {
  handlers.onOpen();
  await new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("stopped"))));
};

function node(name: string, version = "1"): KubeObject {
  return { metadata: { name, resourceVersion: version } };
}

function page(names: string[], version: string, next?: string): Page<KubeObject> {
  return { items: names.map((name) => node(name)), version, next };
}

function refused(status: number, retryAfterMs = 0): KubernetesError {
  return new KubernetesError("refused", `status ${status}`, { status, retryAfterMs });
}

/** Runs the loop until it waits for the clock or for a watch without data. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

function start(api: ScriptedApi, { absentRetryMs, ...fail }: { onList?: number; absentRetryMs?: number } = {}) {
  const clock = new ManualClock();
  const events: string[] = [];
  const stopping = new AbortController();
  const loop = new ListWatch(
    api,
    { ...LIST_WATCH_DEFAULTS, clock, absentRetryMs },
    {
      onList: (items) => {
        if (fail.onList !== undefined && fail.onList-- > 0) throw new Error("listener failed");
        events.push(`list ${items.map(({ metadata }) => metadata.name).join(" ")}`);
      },
      onChange: (event) => events.push(`${event.type} ${event.object.metadata.name}`),
      onWatching: () => events.push("watching"),
      onFailure: (error, retryMs) => events.push(`${(error as Error).message}, again in ${retryMs}`),
      onAbsent: (error, retryMs) => events.push(`absent: ${(error as Error).message}, again in ${retryMs}`),
    },
  );
  const ended = loop.run(stopping.signal);
  const stop = () => {
    stopping.abort();
    return ended;
  };
  return { clock, events, stop };
}

describe("ListWatch", () => {
  test("reports a list only after its last page, and watches from its version", async () => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7", "more"), page(["b"], "7", "still"), page(["c"], "7"));
    const { events, stop } = start(api);
    await settle();
    expect(api.calls).toEqual(["list 500", "list 500 more", "list 500 still", "watch 7"]);
    expect(events).toEqual(["list a b c", "watching"]);
    await stop();
  });

  test("restarts a list if a continue token has expired", async () => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7", "more"), refused(410), page(["b"], "9"));
    const { clock, events, stop } = start(api);
    await settle();
    expect(events).toEqual(["status 410, again in 250"]);
    clock.advance(250);
    await settle();
    expect(api.calls.slice(2)).toEqual(["list 500", "watch 9"]);
    expect(events.slice(1)).toEqual(["list b", "watching"]);
    await stop();
  });

  test("continues at once from the last event or bookmark if the server ends a watch", async () => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7"));
    api.watches.push(
      async (_request, handlers) => {
        handlers.onOpen();
        handlers.onEvent({ type: "MODIFIED", object: node("a"), version: "8" });
      },
      async (_request, handlers) => {
        handlers.onOpen();
        handlers.onEvent({ type: "BOOKMARK", version: "20" });
      },
    );
    const { clock, events, stop } = start(api);
    await settle();
    expect(api.calls).toEqual(["list 500", "watch 7", "watch 8", "watch 20"]);
    expect(events).toEqual(["list a", "watching", "MODIFIED a", "watching", "watching"]);
    expect(clock.pendingMs()).toEqual([]);
    await stop();
  });

  test("requests timeouts between 290 and 590 seconds", async () => {
    for (const [chance, seconds] of [
      [0, 290],
      [0.9999, 590],
    ] as const) {
      const api = new ScriptedApi();
      const { clock, stop } = start(api);
      clock.chance = chance;
      await settle();
      expect(api.timeouts).toEqual([seconds]);
      await stop();
    }
  });

  test.each([
    ["no connection", new KubernetesError("connection", "x"), "watch 7"],
    ["unusable credentials", new KubernetesError("credentials", "x"), "watch 7"],
    ["401", refused(401), "watch 7"],
    ["403", refused(403), "watch 7"],
    ["429", refused(429), "watch 7"],
    ["500", refused(500), "watch 7"],
    ["410", refused(410), "list 500"],
    ["400", refused(400), "list 500"],
    ["silence", new KubernetesError("silence", "x"), "list 500"],
    ["an invalid answer", new KubernetesError("protocol", "x"), "list 500"],
    ["an unknown error", new Error("x"), "list 500"],
  ])("retries after %s and a delay", async (_name, error, expected) => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7"));
    api.watches.push(async () => {
      throw error;
    });
    const { clock, stop } = start(api);
    await settle();
    expect(api.calls).toEqual(["list 500", "watch 7"]);
    clock.advance(250);
    await settle();
    expect(api.calls[2]).toBe(expected);
    await stop();
  });

  test("doubles the delay after each failure up to the limit, and resets it after a success", async () => {
    const api = new ScriptedApi();
    api.watches.push(...Array.from({ length: 7 }, () => async () => Promise.reject(refused(500))));
    api.watches.push(async (_request, handlers) => {
      handlers.onOpen();
      handlers.onEvent({ type: "BOOKMARK", version: "2" });
      throw refused(500);
    });
    const { clock, events, stop } = start(api);
    for (let n = 0; n < 8; n++) {
      await settle();
      clock.advance(clock.pendingMs()[0] ?? Number.NaN);
    }
    const waits = events.filter((event) => event.startsWith("status")).map((event) => Number(event.split(" ").at(-1)));
    expect(waits).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000, 250]);
    await stop();
  });

  test("respects the server's Retry-After", async () => {
    const api = new ScriptedApi();
    api.lists.push(refused(429, 20_000));
    const { clock, stop } = start(api);
    await settle();
    expect(clock.pendingMs()).toEqual([20_000]);
    await stop();
  });

  test("backs off from a server that ends each watch at once", async () => {
    const api = new ScriptedApi();
    api.watches.push(...Array.from({ length: 3 }, (): Watch => async (_request, handlers) => handlers.onOpen()));
    const { clock, events, stop } = start(api);
    await settle();
    expect(api.calls).toEqual(["list 500", "watch 1"]);
    expect(events.at(-1)).toMatch(/the server ended it after 0 ms without an event, again in 250/);
    clock.advance(250);
    await settle();
    expect(clock.pendingMs()).toEqual([500]);
    await stop();
  });

  test("counts a long watch as a success, even without events", async () => {
    const api = new ScriptedApi();
    let end: () => void = () => undefined;
    api.watches.push(
      async () => Promise.reject(refused(500)),
      async () => Promise.reject(refused(500)),
      async (_request, handlers) => {
        handlers.onOpen();
        await new Promise<void>((resolve) => {
          end = resolve;
        });
        throw refused(500);
      },
    );
    const { clock, events, stop } = start(api);
    await settle();
    clock.advance(250);
    await settle();
    clock.advance(500);
    await settle();
    clock.advance(6000);
    end();
    await settle();
    expect(events.at(-1)).toBe("status 500, again in 250");
    await stop();
  });

  test("lists again if the handler failed", async () => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7"), page(["a"], "8"));
    const { clock, events, stop } = start(api, { onList: 1 });
    await settle();
    expect(events).toEqual(["listener failed, again in 250"]);
    clock.advance(250);
    await settle();
    expect(events.slice(1)).toEqual(["list a", "watching"]);
    await stop();
  });

  test("stops at once without reporting, during a watch and during a delay", async () => {
    for (const script of [stayOpen, async () => Promise.reject(refused(500))]) {
      const api = new ScriptedApi();
      api.watches.push(script);
      const { clock, events, stop } = start(api);
      await settle();
      const before = events.length;
      await stop();
      expect(events).toHaveLength(before);
      expect(clock.pendingMs()).toEqual([]);
    }
  });

  test("reports an unknown resource as absent at once, and retries after a long delay", async () => {
    const api = new ScriptedApi();
    api.lists.push(refused(404), refused(404), refused(500), page(["a"], "7"));
    const { clock, events, stop } = start(api, { absentRetryMs: 300_000 });
    for (const ms of [150_000, 150_000, 250]) {
      await settle();
      expect(clock.pendingMs()).toEqual([ms]);
      clock.advance(ms);
    }
    await settle();
    expect(events).toEqual([
      "absent: status 404, again in 150000",
      "absent: status 404, again in 150000",
      "status 500, again in 250",
      "list a",
      "watching",
    ]);
    await stop();
  });

  test("reports a resource that existed as absent only after three consecutive lists with 404", async () => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7"), refused(404), page(["a"], "8"), refused(404), refused(404), refused(404));
    api.watches.push(
      async () => Promise.reject(refused(404)),
      async () => Promise.reject(refused(404)),
    );
    const { clock, events, stop } = start(api, { absentRetryMs: 300_000 });
    for (let n = 0; n < 6; n++) {
      await settle();
      clock.advance(clock.pendingMs()[0] ?? Number.NaN);
    }
    const reported = events.map((event) => event.split(",", 1)[0]);
    const failed = "status 404";
    expect(reported).toEqual(["list a", failed, failed, "list a", failed, failed, failed, `absent: ${failed}`]);
    await stop();
  });

  test("restarts counting 404 answers after another error", async () => {
    const api = new ScriptedApi();
    api.lists.push(page(["a"], "7"), refused(404), refused(404), refused(503), refused(404), page(["a"], "8"));
    api.watches.push(async () => Promise.reject(refused(404)));
    const { clock, events, stop } = start(api, { absentRetryMs: 300_000 });
    for (let wait = 0; wait < 5; wait++) {
      await settle();
      clock.advance(clock.pendingMs()[0] ?? Number.NaN);
    }
    await settle();
    expect(events.filter((event) => /absent|list/.test(event))).toEqual(["list a", "list a"]);
    await stop();
  });

  test("never reports a built-in resource as absent", async () => {
    const api = new ScriptedApi();
    api.lists.push(refused(404), refused(404));
    const { clock, events, stop } = start(api);
    await settle();
    clock.advance(250);
    await settle();
    expect(events).toEqual(["status 404, again in 250", "status 404, again in 500"]);
    await stop();
  });
});

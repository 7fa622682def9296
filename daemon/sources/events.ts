/**
 * Creates Events about this node, which an operator sees in `kubectl describe node`. A repeated event increases a
 * count; a flood is rate-limited; and no caller waits for the API server.
 */
import type { Clock } from "../../pkg/cluster/clock.ts";
import { isNotFound } from "../../pkg/cluster/errors.ts";
import type { NodeApi, NodeEvent } from "../../pkg/cluster/node/node-api.ts";
import type { Logger } from "../core/log.ts";
import { Loop } from "../core/loop.ts";
import type { EventReason } from "./event-reasons.ts";

export interface Happening {
  readonly type: "Normal" | "Warning";
  readonly reason: EventReason;
  /** For people: what happened, to which object, and what to do. */
  readonly message: string;
}

/** Reports events to operators. */
export interface EventReporter {
  /** Returns at once and never throws. */
  report(happening: Happening): void;
}

export interface EventsOptions {
  readonly api: Pick<NodeApi, "createEvent" | "countEvent">;
  readonly nodeName: string;
  /** The Node's uid; undefined until it is known. */
  readonly nodeUid: () => string | undefined;
  readonly clock: Clock;
  /** The time of day, for the Events' timestamps. */
  readonly dateMs?: () => number;
  readonly log: Logger;
}

/** A reported event, and how much of it the API server has. */
interface Entry {
  readonly happening: Happening;
  readonly firstTimestamp: string;
  lastTimestamp: string;
  count: number;
  toldCount: number;
  toldMs: number;
  /** The name of its Event in the API server. */
  name: string | undefined;
}

const BACKOFF = { initialMs: 1000, maxMs: 60_000 };

/** The shortest time between two updates of an Event's count. */
const COUNT_MS = 60_000;

/** The number of requests that may be sent at once. One more is allowed after each interval. */
const BURST = 20;
const REFILL_MS = 15_000;

/** The number of kept events. The oldest are dropped first. */
const MOST_ENTRIES = 100;

/** The API server's limit for the length of a message. */
const LONGEST_MESSAGE = 1024;

export class Events implements EventReporter {
  readonly #options: EventsOptions;
  readonly #stopping = new AbortController();
  readonly #loop: Loop;
  readonly #entries = new Map<string, Entry>();
  #tokens = BURST;
  #refilledMs: number;

  constructor(options: EventsOptions) {
    const { clock, log } = options;
    this.#options = options;
    this.#refilledMs = clock.nowMs();
    this.#loop = new Loop({
      clock,
      backoff: BACKOFF,
      pass: () => this.#tell(),
      onFailure: (error, retryMs) => {
        if (this.#stopping.signal.aborted) return;
        log.warn({ err: error, retryMs: Math.round(retryMs) }, "Event not written");
      },
    });
  }

  report({ type, reason, message }: Happening): void {
    const happening = { type, reason, message: message.slice(0, LONGEST_MESSAGE) };
    const key = JSON.stringify(happening);
    const now = new Date((this.#options.dateMs ?? Date.now)()).toISOString().replace(/\.\d+Z$/, "Z");
    const entry = this.#entries.get(key) ?? newEntry(happening, now);
    entry.count += 1;
    entry.lastTimestamp = now;
    // Moves the entry to the end of the order.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const [oldest] of this.#entries) {
      if (this.#entries.size <= MOST_ENTRIES) break;
      this.#entries.delete(oldest);
    }
    this.#loop.ask("event", { delayMs: this.#waitMs(entry), isPatient: true });
  }

  /** Aborts a running attempt. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  /** Sends the entries that are due, and schedules the rest. */
  async #tell(): Promise<void> {
    for (const entry of [...this.#entries.values()]) {
      if (entry.count === entry.toldCount) continue;
      if (this.#waitMs(entry) > 0) continue;
      this.#tokens -= 1;
      await this.#tellOne(entry);
    }
    const waits = [...this.#entries.values()]
      .filter((one) => one.count !== one.toldCount)
      .map((one) => this.#waitMs(one));
    if (waits.length > 0) this.#loop.ask("event", { delayMs: Math.min(...waits) });
  }

  async #tellOne(entry: Entry): Promise<void> {
    const { api, nodeName, nodeUid, clock } = this.#options;
    const { signal } = this.#stopping;
    const { count, lastTimestamp, firstTimestamp, happening } = entry;
    try {
      if (entry.name !== undefined) await api.countEvent(entry.name, { count, lastTimestamp }, signal);
    } catch (error) {
      // Events expire after an hour.
      if (!isNotFound(error)) throw error;
      entry.name = undefined;
    }
    const event: NodeEvent = { node: nodeName, uid: nodeUid(), ...happening, firstTimestamp, lastTimestamp, count };
    entry.name ??= await api.createEvent(event, signal);
    entry.toldCount = count;
    entry.toldMs = clock.nowMs();
  }

  /** Returns the time until the entry may be sent. */
  #waitMs({ toldMs }: Entry): number {
    const nowMs = this.#options.clock.nowMs();
    const refills = Math.floor((nowMs - this.#refilledMs) / REFILL_MS);
    this.#tokens = Math.min(BURST, this.#tokens + refills);
    this.#refilledMs += refills * REFILL_MS;
    const tokenMs = this.#tokens > 0 ? 0 : this.#refilledMs + REFILL_MS - nowMs;
    return Math.max(0, tokenMs, toldMs + COUNT_MS - nowMs);
  }
}

function newEntry(happening: Happening, now: string): Entry {
  return {
    happening,
    firstTimestamp: now,
    lastTimestamp: now,
    count: 0,
    toldCount: 0,
    toldMs: Number.NEGATIVE_INFINITY,
    name: undefined,
  };
}

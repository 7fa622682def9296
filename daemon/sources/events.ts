/**
 * Events about this node: what an operator should find in `kubectl describe node` without reading logs. The same thing
 * said again is counted, not said again; a flood is slowed down; and nobody waits for the API server.
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
  /** For people: what happened, to what, what to do. */
  readonly message: string;
}

/** Whoever has something to tell an operator is given one of these. */
export interface EventReporter {
  /** Returns at once and never throws. */
  report(happening: Happening): void;
}

export interface EventsOptions {
  readonly api: Pick<NodeApi, "createEvent" | "countEvent">;
  readonly nodeName: string;
  /** The Node's uid, once it is known. */
  readonly nodeUid: () => string | undefined;
  readonly clock: Clock;
  /** The time of day, for the Events' timestamps. */
  readonly dateMs?: () => number;
  readonly log: Logger;
}

/** What was said, and how much of it the API server has been told. */
interface Entry {
  readonly happening: Happening;
  readonly firstTimestamp: string;
  lastTimestamp: string;
  count: number;
  toldCount: number;
  toldMs: number;
  /** The Event that counts it. */
  name: string | undefined;
}

const BACKOFF = { initialMs: 1000, maxMs: 60_000 };

/** What is said every second is counted up in the API server this often. */
const COUNT_MS = 60_000;

/** So many at once; one more after each interval. */
const BURST = 20;
const REFILL_MS = 15_000;

/** The longest kept are forgotten first. */
const MOST_ENTRIES = 100;

/** What the API server takes for a message. */
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
        log.warn({ err: error, retryMs: Math.round(retryMs) }, "an Event could not be written");
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
    // At the end, as the one that was said last.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    for (const [oldest] of this.#entries) {
      if (this.#entries.size <= MOST_ENTRIES) break;
      this.#entries.delete(oldest);
    }
    this.#loop.ask("event", { delayMs: this.#waitMs(entry), isPatient: true });
  }

  /** Gives up an attempt under way. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loop.stop();
  }

  /** Tells what is due; of the rest it is known when. */
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
      // Events live for an hour.
      if (!isNotFound(error)) throw error;
      entry.name = undefined;
    }
    const event: NodeEvent = { node: nodeName, uid: nodeUid(), ...happening, firstTimestamp, lastTimestamp, count };
    entry.name ??= await api.createEvent(event, signal);
    entry.toldCount = count;
    entry.toldMs = clock.nowMs();
  }

  /** Time until this one may be told. */
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

/**
 * Serves NodePorts on ::1 through forwarders inside weftd, one for each port. They pause while weftd restarts. Their
 * limits apply to all of them together, so that local clients cannot make weftd run out of memory.
 */
import { IPPROTO_TCP, IPPROTO_UDP } from "../../../pkg/kernel/connection-selector.ts";
import { type Forward, localhostForwards } from "../../../pkg/services/localhost/forwards.ts";
import { Attempts } from "../../core/attempts.ts";
import type { Runnable } from "../../core/controller.ts";
import type { Health } from "../../core/health.ts";
import type { Logger } from "../../core/log.ts";
import { type Fact, Topic } from "../../core/topic.ts";
import type { EventReporter } from "../../sources/events.ts";
import type { ProgrammedServices } from "../facts.ts";
import type { Forwarder, OpenForwarder } from "./forwarder.ts";
import { Quota } from "./quota.ts";

/** Concurrent TCP connections, with 64 KiB of buffers each, and concurrent UDP clients, with a socket each. */
export const LIMITS = { [IPPROTO_TCP]: 256, [IPPROTO_UDP]: 1024 } as const;

/** Changes of Services arrive in bursts, and a port on ::1 is not urgent. */
const DELAY_MS = 100;

/** The time until a port that another program uses is retried. */
const RETRY_MS = 5000;

export interface LocalhostParts {
  readonly programmed: Fact<ProgrammedServices>;
  readonly open: Readonly<Record<Forward["protocol"], OpenForwarder>>;
  readonly events: EventReporter;
  readonly health: Pick<Health, "warns">;
  readonly log: Logger;
}

interface Open {
  readonly forwarder: Forwarder;
  forward: Forward;
}

export class LocalhostController implements Runnable {
  readonly name = "service-localhost";
  readonly subscriptions: Runnable["subscriptions"];
  readonly retry = { pauseMs: () => RETRY_MS };
  readonly #parts: LocalhostParts;
  readonly #change = new Topic("NodePorts on ::1");
  readonly #unsubscribe: () => void;
  readonly #quotas = { [IPPROTO_TCP]: new Quota(LIMITS[IPPROTO_TCP]), [IPPROTO_UDP]: new Quota(LIMITS[IPPROTO_UDP]) };
  /** By `forwardKey`. */
  readonly #open = new Map<string, Open>();

  constructor(parts: LocalhostParts) {
    this.#parts = parts;
    this.subscriptions = { topics: [this.#change] };
    this.#unsubscribe = parts.programmed.subscribe(() => this.#change.notify({ delayMs: DELAY_MS, isPatient: true }));
  }

  async run(): Promise<void> {
    const { programmed } = this.#parts;
    if (programmed.value === undefined) return;
    const wanted = localhostForwards(programmed.value.frontends());
    for (const [key, { forwarder }] of this.#open) {
      if (wanted.has(key)) continue;
      this.#open.delete(key);
      await forwarder.close();
    }
    const attempts = new Attempts();
    for (const [key, forward] of wanted) {
      const open = this.#open.get(key);
      open?.forwarder.redirect(forward.to);
      if (open !== undefined) open.forward = forward;
      else await attempts.try(() => this.#begin(key, forward));
    }
    attempts.end();
    this.#parts.health.warns("NodePorts on ::1", []);
  }

  failed(error: unknown, retryMs: number): void {
    const { health, log } = this.#parts;
    health.warns("NodePorts on ::1", [error instanceof Error ? error.message : String(error)]);
    log.warn({ err: error, retryMs: Math.round(retryMs) }, "some NodePorts are not served on ::1");
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    const closing = [...this.#open.values()].map(({ forwarder }) => forwarder.close());
    this.#open.clear();
    await Promise.all(closing);
  }

  async debug() {
    const forwards = [...this.#open.values()].map(({ forward: { protocol, port, service } }) => ({
      ...{ protocol, port, service },
    }));
    const used = { connections: this.#quotas[IPPROTO_TCP].used, udpClients: this.#quotas[IPPROTO_UDP].used };
    return { localhost: { ...used, forwards } };
  }

  async #begin(key: string, forward: Forward): Promise<void> {
    const { open, events } = this.#parts;
    const { protocol, port, to, service } = forward;
    try {
      const forwarder = await open[protocol]({
        ...{ port, to, quota: this.#quotas[protocol] },
        onBroken: () => {
          if (this.#open.get(key)?.forwarder !== forwarder) return;
          this.#open.delete(key);
          this.#change.notify({ delayMs: RETRY_MS });
        },
      });
      this.#open.set(key, { forwarder, forward });
    } catch (error) {
      const place = `[::1]:${port}/${protocol === IPPROTO_TCP ? "TCP" : "UDP"}`;
      const reason = error instanceof Error ? error.message : String(error);
      const message = `the NodePort of Service ${service} is not served at ${place}: ${reason}; free the port, or give the Service another nodePort`;
      events.report({ type: "Warning", reason: "LocalhostNodePortTaken", message });
      throw new Error(message, { cause: error });
    }
  }
}

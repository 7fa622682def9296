/**
 * Determines the stale tracked connections ("flows") of a frontend from its changes. A flow keeps the translation of
 * its first packet. So a UDP client that keeps sending from one port never reaches another endpoint, and a TCP client
 * retransmits its SYN to an endpoint that is gone. Flows to endpoints that still serve are good, whatever the current
 * traffic policy or topology hints select; kube-proxy does not cut them either. SCTP flows are never deleted.
 */
import type { Address } from "../../ip/address.ts";
import type { TrackedConnection } from "../../kernel/connection.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../kernel/connection-selector.ts";
import { type Frontend, type FrontendChange, frontendKey } from "../frontend.ts";
import { includes, type SortedEndpoints, union, without } from "./sorted-endpoints.ts";

/** The flows of one frontend that may be stale. */
export interface Review {
  readonly address: Address;
  readonly protocol: typeof IPPROTO_TCP | typeof IPPROTO_UDP;
  readonly port: number;
  /** Endpoints that serve; if empty, every flow is stale. */
  readonly good: SortedEndpoints;
  /** Endpoints that no longer serve. Undefined: unknown, so any flow may be stale. */
  readonly gone: SortedEndpoints | undefined;
  /** True if no endpoint served for a time: flows of that time may lead untranslated to the frontend's own address. */
  readonly wasEmpty: boolean;
}

/** The fields of a `frontendKey`. */
export type FrontendPlace = Pick<Frontend, "address" | "protocol" | "port">;

/** The pending reviews. Several changes of a frontend become one review. */
export class Reviews {
  readonly #due = new Map<string, Review>();

  get isEmpty(): boolean {
    return this.#due.size === 0;
  }

  /** Adds changes that the kernel already has. */
  add(changes: readonly FrontendChange[]): void {
    for (const { before, after } of changes) {
      const good = serving(after);
      if (before === undefined) {
        if (after !== undefined) this.#put(after, { good, gone: undefined, wasEmpty: false });
        continue;
      }
      const served = serving(before);
      this.#put(before, { good, gone: without(served, good), wasEmpty: served.length === 0 });
    }
  }

  /** Adds frontends whose former state is unknown, when weftd starts. */
  addAll(frontends: Iterable<Frontend>): void {
    for (const frontend of frontends)
      this.#put(frontend, { good: serving(frontend), gone: undefined, wasEmpty: false });
  }

  /** Adds frontends that existed when weftd started and are no longer wanted. */
  addRemoved(places: Iterable<FrontendPlace>): void {
    for (const place of places) this.#put(place, { good: [], gone: [], wasEmpty: false });
  }

  list(): readonly Review[] {
    return [...this.#due.values()];
  }

  /** Marks `review` as completed. If the frontend has changed since it was listed, its review stays pending. */
  done(review: Review): void {
    const key = frontendKey(review);
    if (this.#due.get(key) === review) this.#due.delete(key);
  }

  #put({ address, protocol, port }: FrontendPlace, now: Pick<Review, "good" | "gone" | "wasEmpty">): void {
    if (protocol !== IPPROTO_TCP && protocol !== IPPROTO_UDP) return;
    const key = frontendKey({ address, protocol, port });
    const earlier = this.#due.get(key);
    const isUnknown = now.gone === undefined || (earlier !== undefined && earlier.gone === undefined);
    const gone = isUnknown ? undefined : without(union(earlier?.gone ?? [], now.gone ?? []), now.good);
    const wasEmpty = now.wasEmpty || earlier?.wasEmpty === true;
    // If endpoints were only added, no flow is stale.
    if (now.good.length > 0 && gone?.length === 0 && !wasEmpty) this.#due.delete(key);
    else this.#due.set(key, { address, protocol, port, good: now.good, gone, wasEmpty });
  }
}

/** True for a flow to the reviewed frontend that leads to no serving endpoint. */
export function isStale({ protocol, good }: Review, flow: TrackedConnection): boolean {
  const { answeredBy, answeredFromPort, isAnswered } = flow;
  if (protocol === IPPROTO_TCP && isAnswered) return false;
  if (answeredBy === undefined || answeredFromPort === undefined) return true;
  return !includes(good, { address: answeredBy, port: answeredFromPort });
}

function serving(frontend: Frontend | undefined): SortedEndpoints {
  if (frontend === undefined) return [];
  const { endpoints, localEndpoints, serving = union(endpoints, localEndpoints) } = frontend;
  return serving;
}

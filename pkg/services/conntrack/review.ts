/**
 * Which tracked connections ("flows") to a frontend are stale, from what became of the frontend. A flow keeps the
 * translation that its first packet met, so a UDP client that goes on sending from one port never reaches another endpoint,
 * and a TCP client repeats its SYN to an endpoint that is gone. Flows to endpoints that may still serve are good, whichever
 * traffic policy or topology hint chooses today: kube-proxy cuts none of them either. SCTP flows are never touched.
 */
import type { Address } from "../../ip/address.ts";
import type { TrackedConnection } from "../../kernel/connection.ts";
import { IPPROTO_TCP, IPPROTO_UDP } from "../../kernel/connection-selector.ts";
import { type Frontend, type FrontendChange, frontendKey } from "../frontend.ts";
import { includes, type SortedEndpoints, union, without } from "./sorted-endpoints.ts";

/** What may be stale of the flows to one frontend. */
export interface Review {
  readonly address: Address;
  readonly protocol: typeof IPPROTO_TCP | typeof IPPROTO_UDP;
  readonly port: number;
  /** Endpoints that serve; none: every flow is stale. */
  readonly good: SortedEndpoints;
  /** Endpoints that served and serve no more. Undefined: not known, so any flow may be stale. */
  readonly gone: SortedEndpoints | undefined;
  /** No endpoint served for a time: flows of that time may lead to the frontend's own address, untranslated. */
  readonly wasEmpty: boolean;
}

/** What a `frontendKey` tells. */
export type FrontendPlace = Pick<Frontend, "address" | "protocol" | "port">;

/** The reviews that are due. Changes are folded into one review for each frontend. */
export class Reviews {
  readonly #due = new Map<string, Review>();

  get isEmpty(): boolean {
    return this.#due.size === 0;
  }

  /** Changes that are in the kernel by now. */
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

  /** Frontends of which it is not known what they were before: weftd starts. */
  addAll(frontends: Iterable<Frontend>): void {
    for (const frontend of frontends)
      this.#put(frontend, { good: serving(frontend), gone: undefined, wasEmpty: false });
  }

  /** Frontends that stood when weftd started, and are wanted no more. */
  addRemoved(places: Iterable<FrontendPlace>): void {
    for (const place of places) this.#put(place, { good: [], gone: [], wasEmpty: false });
  }

  list(): readonly Review[] {
    return [...this.#due.values()];
  }

  /** `review` was carried out. What has changed since it was listed stays due. */
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
    // Where endpoints were only added, nothing is stale.
    if (now.good.length > 0 && gone?.length === 0 && !wasEmpty) this.#due.delete(key);
    else this.#due.set(key, { address, protocol, port, good: now.good, gone, wasEmpty });
  }
}

/** True for a flow to the reviewed frontend that leads nowhere any more. */
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

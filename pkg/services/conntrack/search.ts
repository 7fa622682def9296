/**
 * How stale flows are found with little cost. The kernel walks its whole table for each question (30 ms for 100,000
 * entries), and hands out only what a question selects (2.4 us for each entry). So few reviews are questions that select
 * exactly the stale flows, and many are one question for a protocol's flows, which are looked at one by one.
 */
import type { Family } from "../../ip/address.ts";
import type { TrackedConnection } from "../../kernel/connection.ts";
import {
  type ConnectionSelector,
  type ExactSelector,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from "../../kernel/connection-selector.ts";
import { frontendKey } from "../frontend.ts";
import { isStale, type Review } from "./review.ts";
import { includes } from "./sorted-endpoints.ts";

/** Connections of other zones belong to other programs. */
const ZONE = 0;

/**
 * Above so many questions one that selects the protocol alone is cheaper. Of TCP that one asks only for connections without
 * an answer, which are few.
 */
const MAX_QUESTIONS = { [IPPROTO_TCP]: 2, [IPPROTO_UDP]: 8 } as const;

/** Flows of which all that `selector` selects, and `isStale` confirms, are to be deleted. */
export interface Search {
  readonly selector: ConnectionSelector;
  /** Set where the selector says it all, so that the kernel can delete what it selects without showing it. */
  readonly exact: ExactSelector | undefined;
  /** Ports that the flows were opened to: what is about others need not be looked at. */
  readonly ports: ReadonlySet<number>;
  /** Looks at all again: kernels pass over the parts of a selector that they do not know. */
  isStale(flow: TrackedConnection): boolean;
}

/** The searches of one family for `reviews`, which may be of both. */
export function searchesFor(family: Family, reviews: readonly Review[]): readonly Search[] {
  return ([IPPROTO_UDP, IPPROTO_TCP] as const).flatMap((protocol) => {
    const due = reviews.filter((review) => review.protocol === protocol && review.address.family === family);
    const narrow: Search[] = [];
    for (const review of due) {
      narrow.push(...searchesOf(review));
      if (narrow.length > MAX_QUESTIONS[protocol]) return [search(common(family, protocol), due)];
    }
    return narrow;
  });
}

function searchesOf(review: Review): Search[] {
  const { address, protocol, port, good, gone, wasEmpty } = review;
  const all = { ...common(address.family, protocol), destination: address, destinationPort: port };
  if (good.length === 0) return [search(all, [review], exactly(all))];
  if (gone === undefined) return [search(all, [review])];
  const untranslated = wasEmpty && !includes(good, { address, port }) ? [{ address, port }] : [];
  return [...untranslated, ...gone].map((stale) => {
    const selector = { ...all, answeredBy: stale.address, answeredFromPort: stale.port };
    return search(selector, [review], exactly(selector));
  });
}

/** As the kernel selects no IPv6 address, user space has to look at what it selects. */
function exactly(selector: Omit<ExactSelector, "family"> & { readonly family: Family }): ExactSelector | undefined {
  return selector.family === 4 ? { ...selector, family: 4 } : undefined;
}

function common(family: Family, protocol: Review["protocol"]) {
  return { family, protocol, zone: ZONE, ...(protocol === IPPROTO_TCP && { isUnanswered: true as const }) };
}

function search(selector: ConnectionSelector, reviews: readonly Review[], exact?: ExactSelector): Search {
  const { protocol, zone } = selector;
  const byFrontend = new Map(reviews.map((review) => [frontendKey(review), review]));
  return {
    ...{ selector, exact, ports: new Set(reviews.map(({ port }) => port)) },
    isStale: (flow) => {
      if (flow.protocol !== protocol || flow.zone !== zone) return false;
      const { destination, destinationPort } = flow;
      const review = byFrontend.get(
        frontendKey({ address: destination, protocol: flow.protocol as Review["protocol"], port: destinationPort }),
      );
      return review !== undefined && isStale(review, flow);
    },
  };
}

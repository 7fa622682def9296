import { describe, expect, test } from "vitest";
import { formatAddress, parseAddress } from "../../ip/address.ts";
import type { TrackedConnection } from "../../kernel/connection.ts";
import type { Frontend } from "../frontend.ts";
import { isStale, type Review, Reviews } from "./review.ts";
import { searchesFor } from "./search.ts";

const socket = (text: string) => {
  const [, address = "", port = ""] = /^(.*):(\d+)$/.exec(text) ?? [];
  return { address: parseAddress(address), port: Number(port) };
};
const endpoints = (texts: readonly string[]) => texts.map((text) => ({ ...socket(text), isLocal: false }));

function frontend(serves: readonly string[], more: Partial<Frontend> = {}): Frontend {
  return {
    ...{ kind: "ClusterIP", ...socket("10.96.0.10:53"), protocol: 17, service: "kube-system/dns", portName: "dns" },
    ...{ policy: "internal", endpoints: endpoints(serves), localEndpoints: [], withoutEndpoint: undefined },
    ...{ allowedSources: undefined, affinity: undefined },
    ...more,
  };
}

function flow(to: string, by: string, more: Partial<TrackedConnection> = {}): TrackedConnection {
  const [destination, answering] = [socket(to), socket(by)];
  return {
    ...{ family: destination.address.family, protocol: 17, zone: 0, isAnswered: true, attributes: {} },
    ...{ destination: destination.address, destinationPort: destination.port },
    ...{ answeredBy: answering.address, answeredFromPort: answering.port },
    ...more,
  };
}

const [E1, E2, DNS] = ["10.244.1.1:53", "10.244.2.2:53", "10.96.0.10:53"];
const TCP = { protocol: 6 } as const;

/** The stale ones among `flows` after the changes, by the source of their replies. */
function staleOf(reviews: Reviews, ...flows: readonly TrackedConnection[]): string[] {
  const searches = searchesFor(4, reviews.list());
  return flows
    .filter((one) => searches.some((search) => search.isStale(one)))
    .map(({ answeredBy, answeredFromPort }) => `${answeredBy && formatAddress(answeredBy)}:${answeredFromPort}`);
}

function changed(before: Frontend | undefined, now: Frontend | undefined): Reviews {
  const reviews = new Reviews();
  reviews.add([{ before, after: now }]);
  return reviews;
}

const ALL = [flow(DNS, E1), flow(DNS, E2), flow(DNS, DNS)];
const question = (reviews: Reviews) =>
  searchesFor(4, reviews.list()).map(({ exact }) => exact && [exact.answeredBy && formatAddress(exact.answeredBy)]);

describe("UDP flows are stale", () => {
  test("to a removed endpoint, which the selector names", () => {
    const reviews = changed(frontend([E1, E2]), frontend([E2]));
    expect(staleOf(reviews, ...ALL)).toEqual([E1, DNS]);
    expect(question(reviews)).toEqual([["10.244.1.1"]]);
  });
  test("to a removed port of an endpoint", () => {
    const reviews = changed(frontend([E1]), frontend(["10.244.1.1:5353"]));
    expect(staleOf(reviews, flow(DNS, E1), flow(DNS, "10.244.1.1:5353"))).toEqual([E1]);
  });
  test("if the frontend has no endpoints or is removed", () => {
    for (const now of [frontend([]), undefined]) {
      const reviews = changed(frontend([E1]), now);
      expect(staleOf(reviews, ...ALL)).toEqual([E1, E2, DNS]);
      expect(question(reviews)).toEqual([[undefined]]);
    }
  });
  test("if they began before the frontend had endpoints", () => {
    const reviews = changed(frontend([]), frontend([E1]));
    expect(staleOf(reviews, flow(DNS, E1), flow(DNS, DNS))).toEqual([DNS]);
    expect(question(reviews)).toEqual([["10.96.0.10"]]);
  });
  test("to anything but the endpoints of a new frontend, and of all frontends when weftd starts", () => {
    const started = new Reviews();
    started.addAll([frontend([E1])]);
    for (const reviews of [changed(undefined, frontend([E1])), started])
      expect(staleOf(reviews, ...ALL)).toEqual([E2, DNS]);
  });
  test("but not to other destinations or ports, or in other zones", () => {
    const reviews = changed(frontend([E1]), undefined);
    const others = [flow("10.96.0.11:53", E1), flow("10.96.0.10:54", E1), flow(DNS, E1, { zone: 7 })];
    expect(staleOf(reviews, ...others, flow(DNS, E1, TCP))).toEqual([]);
  });
});

describe("flows stay", () => {
  test("to serving endpoints that a policy or a hint no longer selects", () => {
    const now = frontend([E2], { serving: endpoints([E1, E2]) });
    const reviews = changed(frontend([E1, E2]), now);
    expect(reviews.isEmpty).toBe(true);
    reviews.addAll([now]);
    expect(staleOf(reviews, ...ALL)).toEqual([DNS]);
  });
  test("to local endpoints of external traffic", () => {
    const local = frontend([], { localEndpoints: endpoints([E1]) });
    expect(staleOf(changed(undefined, local), flow(DNS, E1), flow(DNS, E2))).toEqual([E2]);
  });
  test("if endpoints were only added", () => {
    expect(changed(frontend([E1]), frontend([E1, E2])).isEmpty).toBe(true);
  });
  test("to an endpoint at the frontend's own address", () => {
    expect(staleOf(changed(frontend([]), frontend([DNS])), flow(DNS, DNS))).toEqual([]);
  });
  test("of SCTP", () => {
    expect(changed(frontend([E1], { protocol: 132 }), undefined).isEmpty).toBe(true);
  });
});

test("TCP connections are stale only while they are unanswered", () => {
  const reviews = changed(frontend([E1, E2], TCP), frontend([E2], TCP));
  const silent = { ...TCP, isAnswered: false };
  expect(staleOf(reviews, flow(DNS, E1, TCP), flow(DNS, E1, silent), flow(DNS, E2, silent))).toEqual([E1]);
  expect(searchesFor(4, reviews.list())[0]?.selector.isUnanswered).toBe(true);
});

describe("changes before the first review", () => {
  test("are merged", () => {
    const reviews = changed(frontend([E1]), frontend([E2]));
    reviews.add([{ before: frontend([E2]), after: frontend(["10.244.3.3:53"]) }]);
    expect(question(reviews)).toEqual([["10.244.1.1"], ["10.244.2.2"]]);
  });
  test("an endpoint that is added again is good", () => {
    const reviews = changed(frontend([E1]), frontend([E2]));
    reviews.add([{ before: frontend([E2]), after: frontend([E1, E2]) }]);
    expect(reviews.isEmpty).toBe(true);
  });
  test("a temporarily empty frontend may have let flows pass untranslated", () => {
    const reviews = changed(frontend([E1]), frontend([]));
    reviews.add([{ before: frontend([]), after: frontend([E1]) }]);
    expect(staleOf(reviews, flow(DNS, E1), flow(DNS, DNS))).toEqual([DNS]);
  });
  test("a frontend that changes during its review stays due", () => {
    const reviews = changed(frontend([E1]), frontend([E2]));
    const [listed] = reviews.list();
    reviews.add([{ before: frontend([E2]), after: undefined }]);
    reviews.done(listed as Review);
    expect(reviews.isEmpty).toBe(false);
    for (const review of reviews.list()) reviews.done(review);
    expect(reviews.isEmpty).toBe(true);
  });
});

describe("many reviews", () => {
  const changes = (count: number, protocol: 6 | 17) =>
    Array.from({ length: count }, (_, at) => {
      const before = frontend([E1, E2], { protocol, port: at + 1 });
      return { before, after: frontend([E2], { protocol, port: at + 1 }) };
    });

  test("are one search for the protocol", () => {
    const reviews = new Reviews();
    reviews.add(changes(9, 17));
    const [search, ...others] = searchesFor(4, reviews.list());
    expect(others).toEqual([]);
    expect(search).toMatchObject({ selector: { family: 4, protocol: 17, zone: 0 }, exact: undefined });
    const flows = [flow("10.96.0.10:3", E1), flow("10.96.0.10:3", E2), flow("10.96.0.10:10", E1)];
    expect(flows.map((one) => search?.isStale(one))).toEqual([true, false, false]);
  });
  test("are separate searches if they are few", () => {
    const reviews = new Reviews();
    reviews.add(changes(8, 17));
    expect(searchesFor(4, reviews.list())).toHaveLength(8);
    expect(searchesFor(6, reviews.list())).toEqual([]);
  });
  test("of TCP are one search for unanswered connections", () => {
    const reviews = new Reviews();
    reviews.add(changes(3, 6));
    const [search, ...others] = searchesFor(4, reviews.list());
    expect(others).toEqual([]);
    expect(search?.selector).toMatchObject({ protocol: 6, isUnanswered: true });
    expect(search?.selector.destination).toBe(undefined);
  });
});

test("a flow without a known reply source is stale", () => {
  const [review] = changed(frontend([E1]), undefined).list();
  expect(review && isStale(review, flow(DNS, E1, { answeredBy: undefined }))).toBe(true);
});

/**
 * The whole way from events to the kernel, in random sequences: Services, EndpointSlices and facts of the node go through
 * ServiceMap and NftablesMode into an nf_tables in memory. After each step the table is the one that a new weftd would make
 * of the same objects, another weftd finds nothing to do, and what the table says of frontends, read back, is what the map says.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import { addressKey } from "../../pkg/ip/address.ts";
import { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { answered, type Look } from "../../pkg/netlink/look.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { type Frontend, frontendKey, type NodeSettings } from "../../pkg/services/frontend.ts";
import type { Transaction } from "../../pkg/services/mode.ts";
import { type HeldFrontend, lookAtFrontends } from "../../pkg/services/nftables/held-frontends.ts";
import { servicesTable } from "../../pkg/services/nftables/layout.ts";
import { NftablesMode } from "../../pkg/services/nftables/nftables-mode.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { applyDamage, type Damage, damage } from "../convergence/damage.ts";
import { formatEndpoints, nodeFacts, prefixes } from "./core-bed.ts";
import { applyEvent, arbitraryEvents, type ServiceEvent } from "./random-events.ts";

const EIO = 5;

/** One weftd's view of a node's kernel. */
class Bench {
  readonly nftables = new FakeNftables();
  readonly map = new ServiceMap();
  mode = new NftablesMode();
  settings: NodeSettings;
  readonly #answers: Uint8Array[] = [];
  readonly #netlink = new BlockingNetlink(
    {
      send: (datagram) => this.#answers.push(...this.nftables.answer(datagram, 1)),
      receive: () => this.#answers.shift() ?? new Uint8Array(),
      close: () => undefined,
    },
    "the fake",
  );

  constructor(settings: NodeSettings) {
    this.settings = settings;
    this.map.setNode(nodeFacts());
  }

  look<T>(look: Look<T>): T {
    return answered(look, (questions) => readRuleset(this.#netlink, questions));
  }

  compare(mode = this.mode): readonly Transaction[] {
    return this.look(mode.compare(this.map.frontends(), this.settings));
  }

  carryOut(transactions: readonly Transaction[]): void {
    for (const transaction of transactions) this.#netlink.commit(transaction);
  }

  /** As the controller does: what a comparison has taken is no change any more. */
  restore(): void {
    this.map.changes();
    this.carryOut(this.compare());
  }
}

type Step =
  | { readonly kind: "events"; readonly events: readonly ServiceEvent[] }
  | { readonly kind: "restart" }
  | { readonly kind: "settings"; readonly settings: NodeSettings }
  | { readonly kind: "damage"; readonly damages: readonly Damage[] }
  /** The kernel refuses one of the next messages of a change. */
  | { readonly kind: "failure"; readonly at: number; readonly events: readonly ServiceEvent[] };

const settings: fc.Arbitrary<NodeSettings> = fc.record({
  localPods: fc.subarray(prefixes("10.244.1.0/24", "fd00:244::/64")),
  serviceRanges: fc.subarray(prefixes("10.96.0.0/16", "fd00:96::/112")),
  masqueradeAll: fc.boolean(),
  masqueradeBit: fc.constantFrom(14, 15),
});

const events = arbitraryEvents({ maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("events" as const), events }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" } as const) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("settings" as const), settings }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("damage" as const),
      damages: fc.array(damage, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("failure" as const), at: fc.nat({ max: 9 }), events }) },
);

function run(bench: Bench, one: Step): void {
  switch (one.kind) {
    case "events":
      for (const event of one.events) applyEvent(bench.map, event);
      bench.carryOut(bench.mode.change(bench.map.changes()));
      break;
    case "restart":
      bench.mode = new NftablesMode();
      expect(bench.compare()).toEqual([]);
      break;
    case "settings":
      bench.settings = one.settings;
      bench.restore();
      break;
    case "damage":
      applyDamage({ nftables: bench.nftables, table: servicesTable(bench.settings, []) }, ...one.damages);
      bench.restore();
      break;
    case "failure":
      for (const event of one.events) applyEvent(bench.map, event);
      refuseOnce(bench, one.at);
      bench.restore();
  }
}

/** Changes as far as the kernel takes them. */
function refuseOnce(bench: Bench, at: number): void {
  let left = at;
  bench.nftables.refuse = () => (left-- === 0 ? EIO : 0);
  try {
    bench.carryOut(bench.mode.change(bench.map.changes()));
  } catch (error) {
    expect(String(error)).toMatch(/EIO|Input\/output/i);
  } finally {
    bench.nftables.refuse = () => 0;
  }
}

/** The lines of our table, with slots' numbers apart from the endpoints in them: their order is free. */
function contentOf(nftables: FakeNftables): string[] {
  const own = nftables.list().filter((line) => line.startsWith(`inet ${SERVICES_TABLE} `));
  return own
    .flatMap((line) => {
      const [, start, key, rest] = /^(.* element (?:local-)?endpoints[46] )([\d.]+) (.*)$/.exec(line) ?? [];
      if (start === undefined || key === undefined) return [line];
      const row = key.split(".").slice(0, -4).join(".");
      return [`${start}${key}`, `${start}${row} leads to ${rest}`];
    })
    .sort();
}

/** What stays of sizes of lists and times of affinity that were there once. */
const OF_PARTS =
  /^inet \S+ (?:(?:chain|rule) (?:local-)?(?:pick|remember)[46]-\d+ |element (?:local-)?(?:picks|remembers)[46] |rule (?:local-)?(?:sticky|remember)[46] )/;

function assertHeld(bench: Bench): void {
  const fresh = new Bench(bench.settings);
  fresh.carryOut(fresh.look(fresh.mode.compare(bench.map.frontends(), bench.settings)));
  const [content, wanted] = [contentOf(bench.nftables), contentOf(fresh.nftables)];
  const known = new Set(wanted);
  expect(content.filter((line) => known.has(line) || !OF_PARTS.test(line))).toEqual(wanted);
  const transactions = bench.nftables.transactions;
  expect(bench.compare(new NftablesMode())).toEqual([]);
  expect(bench.nftables.transactions).toBe(transactions);
  const frontends = [...bench.map.frontends()];
  const clusterIPs = new Set(
    frontends.filter(({ kind }) => kind === "ClusterIP").map(({ address }) => addressKey(address)),
  );
  const texts = frontends.map((one) => wantedText(one, clusterIPs.has(addressKey(one.address))));
  expect(bench.look(lookAtFrontends()).map(heldText).sort()).toEqual(texts.sort());
}

function heldText(held: HeldFrontend): string {
  const { address, protocol, port, isClusterIp, policy, withoutEndpoint, affinitySeconds, isFirewalled } = held;
  const list = (endpoints: HeldFrontend["endpoints"]) =>
    endpoints.map((one) => formatEndpoints([{ ...one, isLocal: false }])).sort();
  return JSON.stringify([
    ...[frontendKey({ address, protocol: protocol as Frontend["protocol"], port }), isClusterIp, policy],
    ...[list(held.endpoints), list(held.localEndpoints), withoutEndpoint, affinitySeconds, isFirewalled],
  ]);
}

/** `isClusterIp` may be true of an external frontend: at another port its address is another Service's ClusterIP. */
function wantedText(frontend: Frontend, isClusterIp: boolean): string {
  const { allowedSources, affinity } = frontend;
  return heldText({
    ...frontend,
    isClusterIp,
    affinitySeconds: affinity?.seconds,
    isFirewalled: allowedSources !== undefined,
    connections: 0,
  });
}

test("after each step the table is as new, and a comparison finds nothing to do", { timeout: 300_000 }, () => {
  fc.assert(
    fc.property(settings, fc.array(step, { minLength: 1, maxLength: 12 }), (first, steps) => {
      const bench = new Bench(first);
      bench.restore();
      for (const one of steps) {
        run(bench, one);
        assertHeld(bench);
      }
    }),
    { numRuns: 60 },
  );
});

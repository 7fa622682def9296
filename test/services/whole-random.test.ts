/**
 * The complete path from events to the kernel, in random sequences: Services, EndpointSlices and facts of the node pass
 * through ServiceMap and NftablesMode into an nf_tables in memory. After each step the table equals the one that a new
 * weftd would make from the same objects, another weftd finds nothing to do, and the frontends read back from the table
 * equal the map's.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import { addressKey } from "../../pkg/ip/address.ts";
import type { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { type Frontend, frontendKey, type NodeSettings } from "../../pkg/services/frontend.ts";
import { type HeldFrontend, lookAtFrontends } from "../../pkg/services/nftables/held-frontends.ts";
import { servicesTable } from "../../pkg/services/nftables/layout.ts";
import { NftablesMode } from "../../pkg/services/nftables/nftables-mode.ts";
import { applyDamage, type Damage, damage } from "../convergence/damage.ts";
import { runs } from "../fuzz/samples.ts";
import { formatEndpoints } from "./core-bed.ts";
import { arbitraryEvents, arbitraryPopulation, arbitrarySettings, type ServiceEvent } from "./random-events.ts";
import { WholeBed } from "./whole-bed.ts";

const EIO = 5;

type Step =
  | { readonly kind: "events"; readonly events: readonly ServiceEvent[] }
  | { readonly kind: "restart" }
  | { readonly kind: "settings"; readonly settings: NodeSettings }
  | { readonly kind: "damage"; readonly damages: readonly Damage[] }
  /** The kernel rejects one of the next messages of a change. */
  | { readonly kind: "failure"; readonly at: number; readonly events: readonly ServiceEvent[] };

const events = arbitraryEvents({ maxLength: 4 });
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("events" as const), events }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" } as const) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("settings" as const), settings: arbitrarySettings }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("damage" as const),
      damages: fc.array(damage, { minLength: 1, maxLength: 3 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("failure" as const), at: fc.nat({ max: 9 }), events }) },
);

function run(bed: WholeBed, one: Step): void {
  switch (one.kind) {
    case "events":
      bed.apply(one.events);
      break;
    case "restart":
      bed.mode = new NftablesMode();
      expect(bed.compare()).toEqual([]);
      break;
    case "settings":
      bed.settings = one.settings;
      bed.restore();
      break;
    case "damage":
      applyDamage({ nftables: bed.nftables, table: servicesTable(bed.settings, []) }, ...one.damages);
      bed.restore();
      break;
    case "failure":
      refuseOnce(bed, one.at, one.events);
      bed.restore();
  }
}

/** Applies changes until the kernel rejects one. */
function refuseOnce(bed: WholeBed, at: number, events: readonly ServiceEvent[]): void {
  let left = at;
  bed.nftables.refuse = () => (left-- === 0 ? EIO : 0);
  try {
    bed.apply(events);
  } catch (error) {
    expect(String(error)).toMatch(/EIO|Input\/output/i);
  } finally {
    bed.nftables.refuse = () => 0;
  }
}

/** The lines of weft's table, with slots' numbers separated from the endpoints in them: their order is free. */
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

/**
 * Chains for list sizes and affinity timeouts are made on first use, and stay. A comparison that finds nothing to do
 * proves that these chains are the mode's own.
 */
const MAY_STAY = /^inet \S+ (?:(?:chain|rule) |element (?:local-)?(?:picks|remembers)[46] )/;

function assertHeld(bed: WholeBed): void {
  const fresh = new WholeBed(bed.settings);
  fresh.carryOut(fresh.look(fresh.mode.compare(bed.map.frontends(), bed.settings)));
  const [content, wanted] = [contentOf(bed.nftables), contentOf(fresh.nftables)];
  const known = new Set(wanted);
  expect(content.filter((line) => known.has(line) || !MAY_STAY.test(line))).toEqual(wanted);
  const transactions = bed.nftables.transactions;
  expect(bed.compare(new NftablesMode())).toEqual([]);
  expect(bed.nftables.transactions).toBe(transactions);
  const frontends = [...bed.map.frontends()];
  const clusterIPs = new Set(
    frontends.filter(({ kind }) => kind === "ClusterIP").map(({ address }) => addressKey(address)),
  );
  const texts = frontends.map((one) => wantedText(one, clusterIPs.has(addressKey(one.address))));
  expect(bed.look(lookAtFrontends()).map(heldText).sort()).toEqual(texts.sort());
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

/** `isClusterIp` may be true for an external frontend: at another port its address is another Service's ClusterIP. */
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

test("after each step the table is as new, and a comparison finds nothing to do", () => {
  fc.assert(
    fc.property(
      arbitrarySettings,
      arbitraryPopulation,
      fc.array(step, { maxLength: 8 }),
      (first, population, steps) => {
        const bed = new WholeBed(first);
        bed.restore();
        for (const one of [{ kind: "events", events: population } as const, ...steps]) {
          run(bed, one);
          assertHeld(bed);
        }
      },
    ),
    { numRuns: runs(4, 200) },
  );
});

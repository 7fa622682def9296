import fc from "fast-check";
import { expect, test } from "vitest";
import { knownDevices } from "../../../pkg/backend/contributions.ts";
import { desiredState } from "../../../pkg/backend/desired.ts";
import { parseNetConf } from "../../../pkg/backend/net-conf.ts";
import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import type { VxlanPeer } from "../../../pkg/backend/vxlan/peer.ts";
import { parseAddress } from "../../../pkg/ip/address.ts";
import { parsePrefix } from "../../../pkg/ip/prefix.ts";
import { type Entries, planEntries } from "../../../pkg/reconcile/data-path.ts";
import { PeerSlices } from "./peer-slices.ts";

const NODE: LocalNode = {
  name: "n0",
  subnets: ["10.244.0.0/24", "fd00:10:244::/64"].map(parsePrefix),
  underlay: {
    index: 2,
    mtu: 1500,
    local: { 4: parseAddress("192.0.2.100"), 6: parseAddress("2001:db8::100") },
    networks: ["192.0.2.100/24", "2001:db8::100/64"].map(parsePrefix),
  },
};
const NETWORKS = { Network: "10.244.0.0/16", EnableIPv6: true, IPv6Network: "fd00:10:244::/48" };
const BACKENDS = [{ Type: "vxlan" }, { Type: "vxlan", DirectRouting: true }, { Type: "host-gw" }] as const;
const NAMES = Array.from({ length: 8 }, (_, n) => `n${n + 1}`);

/** A peer that usually shares nothing with others: its number determines its addresses. */
const peerArbitrary = (name: string): fc.Arbitrary<Peer | undefined> => {
  const own = Number(name.slice(1));
  const number = (most: number) =>
    fc.oneof({ weight: 15, arbitrary: fc.constant(own) }, fc.integer({ min: 0, max: most }));
  const made = fc.record({
    subnet: number(8),
    length: fc.constantFrom(24, 24, 24, 24, 25, 23),
    address: number(8),
    mac: number(8),
    generation: fc.integer({ min: 0, max: 2 }),
    isOnLink: fc.boolean(),
    backendType: fc.constantFrom("vxlan", "vxlan", "vxlan", "vxlan", "host-gw", undefined, "wireguard"),
    vni: fc.constantFrom(undefined, undefined, undefined, 7),
    isDual: fc.boolean(),
    isForeign: fc.constantFrom(false, false, false, false, true),
  });
  return fc.oneof({ weight: 3, arbitrary: made }, { weight: 1, arbitrary: fc.constant(undefined) }).map((one) => {
    if (one === undefined) return undefined;
    const { subnet, length, address, mac, generation, isOnLink, backendType, vni, isDual, isForeign } = one;
    const link = isOnLink ? "192.0.2" : "198.51.100";
    const peer: VxlanPeer = {
      ...{ name, backendType, vni },
      subnets: [
        parsePrefix(`10.${isForeign ? 1 : 244}.${length === 23 ? subnet & ~1 : subnet}.0/${length}`),
        ...(isDual ? [parsePrefix(`fd00:10:244:${subnet}::/64`)] : []),
      ],
      addresses: [`${link}.${address + 1}`, ...(isDual ? [`2001:db8::${address + 1}`] : [])].map(parseAddress),
      vtepMacs:
        generation === 0 ? {} : { 4: `0a:00:00:00:0${generation}:0${mac}`, 6: `0a:00:00:00:0${generation}:0${mac}` },
    };
    return peer;
  });
};

const batch = fc
  .uniqueArray(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 })
  .chain((names) => fc.tuple(...names.map((name) => peerArbitrary(name).map((peer) => [name, peer] as const))));

/** Applies requests to entries, as the kernel does, by the identities of the objects. */
function applied(held: ReadonlyMap<string, string>, requests: ReturnType<typeof planEntries>): Map<string, string> {
  const result = new Map(held);
  for (const { identifier, object, body } of requests) {
    // The kernel replaces a route by destination and metric, whatever its link.
    const key = object.kind === "route" ? object.key.replace(/ index \d+/, "") : object.key;
    if (identifier.startsWith("RTM_DEL")) expect(result.delete(object.kind + key)).toBe(true);
    else result.set(object.kind + key, body.toString());
  }
  return result;
}

test.each(BACKENDS)("a sequence of changes leads to the same state as a complete computation: %j", (backend) => {
  const conf = parseNetConf(JSON.stringify({ ...NETWORKS, Backend: backend }));
  const basis = { conf, node: NODE, known: knownDevices([], new Map()), keep: new Map() };
  const indexes = new Map([
    ["flannel.1", 4],
    ["flannel-v6.1", 5],
  ]);
  const none: Entries = { routes: [], neighbours: [], forwarding: [] };
  const kernelOf = (entries: Entries) => applied(new Map(), planEntries(none, entries, indexes));
  let quick = 0;
  let complete = 0;
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 12 }), (batches) => {
      const peers = new Map<string, Peer>();
      const all = () => [...peers.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
      const stateOf = () => desiredState(conf, NODE, all(), basis.known, basis.keep);
      let slices = PeerSlices.of(basis, [], stateOf());
      let kernel = new Map<string, string>();
      for (const changes of batches) {
        for (const [name, peer] of changes) {
          if (peer === undefined) peers.delete(name);
          else peers.set(name, peer);
        }
        const change = slices?.change(new Map(changes));
        if (change === undefined) {
          complete += 1;
          slices = PeerSlices.of(basis, all(), stateOf());
          kernel = kernelOf(stateOf().dataPath);
          continue;
        }
        quick += 1;
        expect(slices?.state).toEqual(stateOf());
        expect(slices?.problems).toEqual(stateOf().problems);
        kernel = applied(kernel, planEntries(change.before, change.after, indexes));
        expect(kernel).toEqual(kernelOf(stateOf().dataPath));
      }
    }),
    { numRuns: 100 },
  );
  // Both ways are tested.
  expect(Math.min(quick, complete)).toBeGreaterThan(25);
});

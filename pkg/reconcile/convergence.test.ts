/** From any state of the kernel, the plan leads to the desired state, and does not change other programs' objects. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { runs } from "../../test/fuzz/samples.ts";
import { RTPROT_WEFT, VTEP_ALIAS } from "../footprint.ts";
import { type Address, parseAddress } from "../ip/address.ts";
import { formatPrefix, type Prefix, parsePrefix } from "../ip/prefix.ts";
import { addAddress } from "../kernel/address.ts";
import { FakeKernel } from "../kernel/fake-kernel.ts";
import { changeLink } from "../kernel/link.ts";
import { replaceForwarding, replaceNeighbour } from "../kernel/neighbour.ts";
import { describeRoute, replaceRoute } from "../kernel/route.ts";
import { type KernelSnapshot, readSnapshot } from "../kernel/snapshot.ts";
import { planVtep, type Vtep } from "../kernel/vtep.ts";
import { vtepDevice } from "../kernel/vtep-device.ts";
import { BlockingNetlink } from "../netlink/blocking.ts";
import { IFF_UP, RTM_NEWLINK } from "../netlink/link.ts";
import { NLM_F_CREATE, query, type Request } from "../netlink/message.ts";
import { FakeSystem } from "../sys/fake.ts";
import { type DataPath, type PeerRoute, planDataPath } from "./data-path.ts";

const UNDERLAY = 2;
/** The index that the fake kernel assigns to the first link after the underlay. */
const VTEP_INDEX = 3;
const NAME = "flannel.1";
const STRANGERS_PROTOCOLS = [3, 4, 186];

const mac = (number: number) => `0a:00:00:00:00:0${number}`;
const small = fc.integer({ min: 1, max: 3 });
const subnetOf = (number: number): Prefix => parsePrefix(`10.244.${number}.0/24`);
const nodeOf = (number: number): Address => parseAddress(`192.0.2.${number}`);

const vtep = fc
  .record({
    mac: small,
    mtu: fc.constantFrom(1450, 1400),
    vni: fc.constantFrom(1, 2),
    port: fc.constantFrom(8472, 4789),
  })
  .map(
    ({ mac: number, mtu, vni, port }): Vtep => ({
      ...{ name: NAME, vni, port, local: nodeOf(9), underlayIndex: UNDERLAY, mac: mac(number), mtu },
      addresses: [parsePrefix("10.244.9.0/32")],
    }),
  );

/** Peers behind the VTEP or, without one, on the underlay. */
const desired: fc.Arbitrary<DataPath> = fc
  .record({
    vtep: fc.option(vtep, { nil: undefined }),
    peers: fc.uniqueArray(fc.record({ id: small, mac: small }), { selector: ({ id }) => id }),
  })
  .map(({ vtep: own, peers }) => {
    const via = ({ id }: { id: number }): PeerRoute => ({
      destination: subnetOf(id),
      ...(own === undefined
        ? { gateway: nodeOf(id), by: { index: UNDERLAY } }
        : { gateway: subnetOf(id).address, by: { device: NAME } }),
    });
    const unique = [...new Map(peers.map((peer) => [peer.mac, peer])).values()];
    return {
      devices: own === undefined ? [] : [vtepDevice(own)],
      routes: peers.map(via),
      neighbours:
        own === undefined
          ? []
          : peers.map((peer) => ({ device: NAME, address: subnetOf(peer.id).address, mac: mac(peer.mac) })),
      forwarding:
        own === undefined
          ? []
          : unique.map((peer) => ({ device: NAME, mac: mac(peer.mac), destination: nodeOf(peer.id) })),
    };
  });

/** The earlier state: an old device of ours or of a predecessor, and entries and routes of any program. */
const past: fc.Arbitrary<Request[]> = fc
  .record({
    device: fc.option(fc.record({ vtep, isUp: fc.boolean(), isOurs: fc.boolean() }), { nil: undefined }),
    entries: fc.array(fc.record({ id: small, mac: small, node: small })),
    addresses: fc.uniqueArray(small),
    routes: fc.array(
      fc.record({
        id: small,
        gateway: small,
        index: fc.constantFrom(UNDERLAY, VTEP_INDEX),
        protocol: fc.constantFrom(RTPROT_WEFT, RTPROT_WEFT, ...STRANGERS_PROTOCOLS),
        priority: fc.constantFrom(undefined, undefined, 50),
        mtu: fc.constantFrom(undefined, undefined, 900),
      }),
    ),
  })
  .map(({ device, entries, addresses, routes }) => {
    const made = device === undefined ? [] : planVtep(device.vtep, undefined).requests;
    const settled =
      device === undefined
        ? []
        : [changeLink(VTEP_INDEX, { up: device.isUp, ...(device.isOurs ? { alias: VTEP_ALIAS } : {}) })];
    const onDevice = device === undefined ? [] : entries;
    return [
      ...made,
      ...settled,
      ...(device === undefined
        ? []
        : addresses.map((id) =>
            addAddress({ index: VTEP_INDEX, prefix: { address: subnetOf(id).address, length: 32 } }),
          )),
      ...onDevice.flatMap(({ id, mac: number, node }) => [
        replaceNeighbour({ index: VTEP_INDEX, address: subnetOf(id).address, mac: mac(number) }),
        replaceForwarding({ index: VTEP_INDEX, mac: mac(number), destination: nodeOf(node) }),
      ]),
      ...routes
        .filter(({ index }) => index === UNDERLAY || device?.isUp === true)
        .map(({ id, gateway, index, protocol, priority, mtu }) =>
          replaceRoute({
            destination: subnetOf(id),
            gateway: nodeOf(gateway),
            outputIndex: index,
            protocol,
            priority,
            mtu,
          }),
        ),
    ];
  });

function bench(before: readonly Request[]) {
  const kernel = new FakeKernel();
  const underlay = { ifname: "eth0", mtu: 1500 };
  kernel.do(query(RTM_NEWLINK, "", { flags: IFF_UP }, underlay, NLM_F_CREATE), ...before);
  const system = new FakeSystem({ netlink: kernel.answer });
  return { kernel, netlink: new BlockingNetlink(system.openNetlink(0), "a test") };
}

/** Applies plans until they are empty, as the drivers do. */
function converge(netlink: BlockingNetlink, wanted: DataPath, keep = false) {
  for (let round = 1; round <= 3; round++) {
    const plan = planDataPath(wanted, readSnapshot(netlink), { keep });
    for (const { error } of netlink.exchange(plan.requests)) if (error !== undefined) throw error;
    if (plan.isComplete) return plan.conflicts;
  }
  throw new Error("the plan is not empty after three rounds");
}

/** Routes of other programs: without our protocol, and not through a device of ours. */
const strangers = ({ routes }: KernelSnapshot) =>
  routes.filter(({ protocol, outputIndex }) => protocol !== RTPROT_WEFT && outputIndex === UNDERLAY).map(describeRoute);

test("plans reach the desired state within three rounds, and are empty afterwards", () => {
  fc.assert(
    fc.property(past, desired, (before, wanted) => {
      const { kernel, netlink } = bench(before);
      const untouched = strangers(readSnapshot(netlink));
      const conflicts = converge(netlink, wanted);
      const after = readSnapshot(netlink);
      expect(strangers(after)).toEqual(untouched);
      // Each subnet has a route, or a conflict that names it, or another program's equivalent route.
      for (const { destination } of wanted.routes) {
        const text = formatPrefix(destination);
        const isServed = after.routes.some((route) => formatPrefix(route.destination) === text);
        expect(isServed || conflicts.some((conflict) => conflict.includes(text))).toBe(true);
      }
      const changes = kernel.changes;
      expect(converge(netlink, wanted)).toEqual(conflicts);
      expect(kernel.changes).toBe(changes);
    }),
    { numRuns: runs(150, 5000) },
  );
});

test("removes everything of ours if nothing is wanted", () => {
  fc.assert(
    fc.property(past, desired, (before, wanted) => {
      const { netlink } = bench(before);
      converge(netlink, wanted);
      converge(netlink, { devices: [], routes: [], neighbours: [], forwarding: [] });
      const { links, routes } = readSnapshot(netlink);
      expect(routes.filter(({ protocol }) => protocol === RTPROT_WEFT)).toEqual([]);
      expect(links.filter(({ alias }) => alias === VTEP_ALIAS)).toEqual([]);
    }),
    { numRuns: runs(60, 2000) },
  );
});

test("with keep, removes no route, neighbour or forwarding entry of a peer", () => {
  fc.assert(
    fc.property(desired, desired, (held, wanted) => {
      const { netlink } = bench([]);
      converge(netlink, held);
      const before = readSnapshot(netlink);
      // Another device means another data path, so only peers differ here.
      converge(netlink, { ...wanted, devices: held.devices, routes: [], neighbours: [], forwarding: [] }, true);
      expect(readSnapshot(netlink)).toEqual(before);
    }),
    { numRuns: runs(60, 2000) },
  );
});

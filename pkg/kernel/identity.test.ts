/**
 * Every request builder names the object that the request changes: requests for the same object have the same identity,
 * and requests for different objects have different identities.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Address, addressBits, type Family, formatAddress, parseAddress } from "../ip/address.ts";
import { networkOf, type Prefix } from "../ip/prefix.ts";
import { RAW_CT_DELETE } from "../netlink/conntrack.ts";
import { identityText, query, type Request } from "../netlink/message.ts";
import * as addresses from "./address.ts";
import * as connections from "./connection.ts";
import * as links from "./link.ts";
import * as neighbours from "./neighbour.ts";
import * as proxies from "./neighbour-proxy.ts";
import * as offload from "./offload.ts";
import * as vlans from "./port-vlan.ts";
import * as routes from "./route.ts";
import * as rules from "./rule.ts";
import * as single from "./single-link.ts";
import * as traffic from "./traffic-control.ts";
import { planVtep, type Vtep } from "./vtep.ts";

const someAddress = fc.oneof(
  fc.bigInt(0n, 15n).map((low): Address => ({ family: 4, value: 0x0a000000n + low })),
  fc.bigInt(0n, 15n).map((low): Address => ({ family: 6, value: (0xfd00n << 112n) + low })),
);
const somePrefix = fc
  .tuple(someAddress, fc.integer({ min: 0, max: 6 }))
  .map(([address, host]): Prefix => ({ address, length: addressBits(address.family) - host }));
const someIndex = fc.integer({ min: 1, max: 4 });
const someMac = fc.integer({ min: 0, max: 255 }).map((low) => `0a:00:00:00:00:${low.toString(16).padStart(2, "0")}`);
const someName = fc.constantFrom("cni0", "flannel.1", "eth0", "index", "veth1");
const limit = { bytesPerSecond: 1_000_000, burstBytes: 10_000 };
const fd = { namespaceFd: 3 };

interface Row<Key> {
  readonly what: string;
  readonly key: fc.Arbitrary<Key>;
  /** Equal for keys of the same object; computed independently of the code under test. */
  readonly same: (key: Key) => unknown;
  /** All changes of the object; `salt` varies the properties outside its identity. */
  readonly changes: (key: Key, salt: number) => Readonly<Record<string, Request>>;
}

/** Hides the type of each row's keys. */
type AnyRow = <T>(use: <Key>(row: Row<Key>) => T) => T;
const row =
  <Key>(one: Row<Key>): AnyRow =>
  (use) =>
    use(one);

const gatewayOf = (family: Family, salt: number) =>
  parseAddress(family === 4 ? `192.0.2.${salt}` : `2001:db8::${salt}`);

const vtepOf = (name: string, salt: number): Vtep => ({
  ...{ name, vni: 1, port: 8472, local: gatewayOf(4, salt), underlayIndex: 2, mac: `0a:00:00:00:01:0${salt % 10}` },
  ...{ mtu: 1450, addresses: [] },
});

function vtepChanges(name: string, salt: number): Record<string, Request> {
  const wanted = vtepOf(name, salt);
  const link = (device: object): links.Link => ({
    ...{ index: salt, name, mtu: 1, mac: wanted.mac, isUp: false, isPromiscuous: false, isAllMulticast: false },
    ...{ txQueueLength: 0, isOperational: false, kind: "vxlan", masterIndex: 0, peerIndex: 0, alias: "" },
    ...{ bridge: undefined, port: undefined, vxlan: { vni: 1, port: 8472, ...device } as links.VxlanDetails },
  });
  const plans = [undefined, link({}), link({ vni: 2 })].flatMap((held) => planVtep(wanted, held).requests);
  expect(plans).toHaveLength(5);
  return Object.fromEntries(plans.map((one, at) => [`planVtep ${at}`, one]));
}

const ROWS: readonly AnyRow[] = [
  row({
    what: "route",
    key: fc.record({
      destination: somePrefix,
      table: fc.constantFrom(undefined, 254, 1000),
      priority: fc.constantFrom(undefined, 0, 1024, 7),
      outputIndex: someIndex,
    }),
    same: ({ destination, table, priority, outputIndex }) => {
      const { address, length } = networkOf(destination);
      return [
        address.family,
        address.value,
        length,
        table ?? 254,
        outputIndex,
        priority || (address.family === 6 ? 1024 : 0),
      ];
    },
    changes: (key, salt) => {
      const gateway = gatewayOf(key.destination.address.family, salt);
      const route = { ...key, gateway, protocol: salt, mtu: 1000 + salt };
      return {
        addRoute: routes.addRoute(route),
        replaceRoute: routes.replaceRoute(route),
        joinRoute: routes.joinRoute(route),
        deleteRoute: routes.deleteRoute({ ...key, protocol: salt }),
      };
    },
  }),
  row({
    what: "neighbour",
    key: fc.record({ index: someIndex, address: someAddress }),
    same: ({ index, address }) => [index, formatAddress(address)],
    changes: (key, salt) => {
      const entry = { ...key, mac: `0a:00:00:00:00:0${salt % 10}` };
      return {
        replaceNeighbour: neighbours.replaceNeighbour(entry),
        changeNeighbour: neighbours.changeNeighbour(entry),
        deleteNeighbour: neighbours.deleteNeighbour(entry),
        probeNeighbour: neighbours.probeNeighbour(key.index, key.address, salt % 2 === 0),
      };
    },
  }),
  row({
    what: "neighbour that the node answers for",
    key: fc.record({ index: someIndex, address: someAddress }),
    same: ({ index, address }) => [index, formatAddress(address)],
    changes: ({ index, address }) => {
      const [add] = proxies.planProxies(index, [address], []);
      const [remove] = proxies.planProxies(index, [], [{ index, address, protocol: 119 }]);
      return { "planProxies add": add as Request, "planProxies delete": remove as Request };
    },
  }),
  row({
    what: "forwarding entry",
    key: fc.record({ index: someIndex, mac: someMac }),
    same: ({ index, mac }) => [index, mac],
    changes: ({ index, mac }, salt) => ({
      replaceForwarding: neighbours.replaceForwarding({ index, mac, destination: gatewayOf(4, salt) }),
      deleteForwarding: neighbours.deleteForwarding({ index, mac: mac.toUpperCase() }),
    }),
  }),
  row({
    what: "address",
    key: fc.record({ index: someIndex, prefix: somePrefix }),
    same: ({ index, prefix }) => [index, formatAddress(prefix.address), prefix.length],
    changes: ({ index, prefix }, salt) => ({
      addAddress: addresses.addAddress({ index, prefix, skipDetection: salt % 2 === 0 }),
      deleteAddress: addresses.deleteAddress(index, prefix),
    }),
  }),
  row({
    what: "link with a name",
    key: someName,
    same: (name) => name,
    changes: (name, salt) => {
      const link = { name, index: salt };
      const mac = `0a:00:00:00:00:0${salt % 10}`;
      return {
        ...vtepChanges(name, salt),
        createBridge: links.createBridge({ name, mac }),
        createVeth: links.createVeth({ name, mac, peer: { name: "eth9", mac } }),
        createIfb: links.createIfb(name, 1000 + salt),
        createSingleLink: single.createSingleLink({ name, device: { kind: "dummy" } }),
        changeLink: links.changeLink(link, { up: true, mtu: 1000 + salt }),
        "changeLink by name": links.changeLink(name, { up: false }),
        deleteLink: links.deleteLink(link),
        "deleteLink by name": links.deleteLink(name),
        setVlanFiltering: vlans.setVlanFiltering(link, salt % 2 === 0),
        setOffload: offload.setOffload(20, link, salt % 2 === 0),
      };
    },
  }),
  row({
    what: "link known by its index only",
    key: someIndex,
    same: (index) => index,
    changes: (index, salt) => ({
      changeLink: links.changeLink(index, { name: `eth${salt}` }),
      deleteLink: links.deleteLink(index),
      moveLink: links.moveLink(index, { ...fd, name: `eth${salt}`, alias: "" }),
    }),
  }),
  row({
    what: "policy",
    key: fc.record({ source: someAddress, table: fc.integer({ min: 1, max: 300 }), priority: fc.constantFrom(1, 2) }),
    same: ({ source, table, priority }) => [formatAddress(source), table, priority],
    changes: (key) => ({ addRule: rules.addRule(key), deleteRule: rules.deleteRule(key) }),
  }),
  row({
    what: "VLANs of a port",
    key: someIndex,
    same: (index) => index,
    changes: (index, salt) => ({
      addPortVlans: vlans.addPortVlans(index, { native: salt, tagged: [] }),
      clearPortVlans: vlans.clearPortVlans(index),
    }),
  }),
  row({
    what: "root queueing discipline",
    key: someIndex,
    same: (index) => index,
    changes: (index, salt) => ({
      addBucket: traffic.addBucket(index, { ...limit, burstBytes: 10_000 + salt }),
      deleteBucket: traffic.deleteBucket(index),
    }),
  }),
  row({
    what: "filter hook",
    key: someIndex,
    same: (index) => index,
    changes: (index) => ({
      addIngress: traffic.addIngress(index),
      addClsact: traffic.addClsact(index),
      deleteIngress: traffic.deleteIngress(index),
    }),
  }),
  row({
    what: "filter",
    key: fc.record({
      index: someIndex,
      hook: fc.constantFrom("ingress", "egress"),
      side: fc.constantFrom("saddr", "daddr"),
      prefix: somePrefix,
    }),
    same: ({ index, hook, side, prefix }) => {
      const { address, length } = networkOf(prefix);
      return [index, hook, side, formatAddress(address), length];
    },
    changes: ({ index, hook, side, prefix }, salt) => ({
      addSubnetFilter: traffic.addSubnetFilter({ index, hook, match: { side, prefix }, target: salt }),
    }),
  }),
  row({
    what: "redirection",
    key: someIndex,
    same: (index) => index,
    changes: (index, salt) => ({ addRedirection: traffic.addRedirection(index, salt) }),
  }),
  row({
    what: "connection",
    key: fc.record({ address: someAddress, port: fc.integer({ min: 1, max: 9 }), id: fc.integer({ min: 1, max: 9 }) }),
    same: ({ address, port, id }) => [formatAddress(address), port, id],
    changes: ({ address, port, id }) => ({
      deleteConnection: connections.deleteConnection({
        ...{ family: address.family, destination: address, destinationPort: port, protocol: 17 },
        attributes: { id },
      }),
    }),
  }),
  row({
    what: "connection of any protocol",
    key: fc.integer({ min: 1, max: 9 }),
    same: (id) => id,
    changes: (id) => {
      const { type, body } = query(RAW_CT_DELETE, "", { family: 2 }, { original: Uint8Array.of(8, 0, 0, 0), id });
      return { deleteTracked: connections.deleteTracked({ type, flags: 0, sequence: 0, portId: 0, payload: body }) };
    },
  }),
];

const someSalt = fc.integer({ min: 1, max: 200 });
const textOf = (key: unknown) => JSON.stringify(key, (_, value) => (typeof value === "bigint" ? String(value) : value));
const idsOf = (changes: Readonly<Record<string, Request>>) =>
  Object.values(changes).map(({ object }) => identityText(object));

describe("the identity of an object", () => {
  test.each(ROWS.map((one) => [one(({ what }) => what), one] as const))("%s", (_what, one) =>
    one(({ key, same, changes }) =>
      fc.assert(
        fc.property(key, key, someSalt, someSalt, (a, b, salt, other) => {
          const ids = new Set([...idsOf(changes(a, salt)), ...idsOf(changes(a, other))]);
          expect(ids.size).toBe(1);
          const isSame = textOf(same(a)) === textOf(same(b));
          expect(ids.has(idsOf(changes(b, other))[0] ?? "")).toBe(isSame);
        }),
      ),
    ),
  );

  test("objects of different kinds have different identities", () =>
    fc.assert(
      fc.property(someSalt, (salt) => {
        const ids = ROWS.map((one) =>
          one(({ key, changes }) => idsOf(changes(fc.sample(key, { numRuns: 1, seed: salt })[0] as never, salt))[0]),
        );
        expect(new Set(ids).size).toBe(ROWS.length);
      }),
    ));

  test("the rows cover every request builder", () => {
    const asked = new Set(
      ROWS.flatMap((one) =>
        one(({ key, changes }) => Object.keys(changes(fc.sample(key, 1)[0] as never, 1))).map(
          (name) => name.split(" ")[0],
        ),
      ),
    );
    const modules = [addresses, connections, links, neighbours, offload, vlans, routes, rules, single, traffic];
    const builders = modules
      .flatMap((module) => Object.keys(module))
      .filter((name) => /^(add|append|change|clear|create|delete|join|move|probe|replace|set)[A-Z]/.test(name));
    expect(builders.length).toBeGreaterThan(20);
    expect(builders.filter((name) => !asked.has(name))).toEqual([]);
  });
});

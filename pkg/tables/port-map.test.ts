import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { prefixSpan } from "../ip/span.ts";
import { decode, type Encodable, type Message, query, type Request } from "../netlink/message.ts";
import {
  NFT_MSG_DELSETELEM,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
} from "../netlink/nftables.ts";
import { layoutDigest } from "../nft/layout-digest.ts";
import { withHandles } from "../nft/table-dump.ts";
import { nameSpan } from "./port-condition.ts";
import {
  addPortMap,
  deletePortMap,
  hasPorts,
  lookAtPortMapElements,
  missingFromPortMap,
  PortTakenError,
  WHOLE_TABLE,
} from "./port-map.ts";
import { readPortMap } from "./port-map-reading.ts";
import type { PortMap, PortMapping } from "./port-mapping.ts";

const mapping = (owner: string, target: string, port: number, single?: string, protocol = 6): PortMapping => ({
  owner,
  host: { protocol, address: single === undefined ? undefined : parseAddress(single), port },
  target: parseAddress(target),
  targetPort: 80,
});
const mapOf = (mappings: readonly PortMapping[], markBit = 13): PortMap => ({
  mappings,
  masquerades: mappings.map(({ owner, host, target }) => ({
    ...{ owner, host, markBit },
    source: { address: target, length: target.family === 4 ? 24 : 64 },
  })),
});

const message = ({ type, body }: Encodable): Message => ({ type, payload: body, flags: 0, sequence: 0, portId: 0 });

/** The kernel's dump after `requests` created a table; the requests have the form of its answers. */
function answers(requests: readonly Encodable[]): Message[] {
  const made = (type: { type: number }) => requests.filter((item) => item.type === type.type);
  const [sets, chains] = [made(NFT_MSG_NEWSET), made(NFT_MSG_NEWCHAIN)];
  const tables = made(NFT_MSG_NEWTABLE).map((item) => {
    const { header, attributes } = decode(NFT_MSG_NEWTABLE, message(item));
    // The use count, which the kernel adds.
    return query(NFT_MSG_NEWTABLE, item.text, header, { ...attributes, use: sets.length + chains.length });
  });
  const all = [...tables, ...sets, ...chains, ...made(NFT_MSG_NEWRULE), ...made(NFT_MSG_NEWSETELEM)];
  return withHandles(all.map(message), sets.length + chains.length);
}
const adding = (...args: Parameters<typeof addPortMap>) => addPortMap(...args).requests;
const held = (map: PortMap) => answers(adding([], map));
const owners = (dumped: readonly Message[]) => [...new Set(readPortMap(dumped).mappings.map(({ owner }) => owner))];
const deleted = (requests: readonly Request[]) =>
  requests
    .filter(({ type }) => type === NFT_MSG_DELSETELEM.type)
    .flatMap((item) => {
      const { attributes } = decode(NFT_MSG_DELSETELEM, message(item));
      return (attributes.elements ?? []).map(() => attributes.set);
    });

test("the stamp has the digest of the table's layout: set LAYOUT to it", () => {
  expect(WHOLE_TABLE.stamp?.layout).toBe(layoutDigest(WHOLE_TABLE));
});

test("parses a map back from its elements", () => {
  const map = mapOf([
    mapping("a", "10.1.0.2", 8080),
    mapping("b", "10.1.0.3", 53, "192.0.2.1", 17),
    mapping("a", "fd00::2", 8080),
    mapping("b", "fd00::3", 9, "fd00::1", 132),
  ]);
  const read = readPortMap(held(map));
  expect(new Set(read.mappings)).toEqual(new Set(map.mappings));
  const networks = map.masquerades.map((entry) => ({
    ...entry,
    source: parsePrefix(entry.source.address.family === 4 ? "10.1.0.0/24" : "fd00::/64"),
  }));
  expect(new Set(read.masquerades)).toEqual(new Set(networks));
});

/** Limits a mapping to connections from and to these networks, through these interfaces. */
const only = (wanted: PortMapping, source: string, destination: string, name = ""): PortMapping => ({
  ...wanted,
  host: {
    ...wanted.host,
    condition: {
      source: prefixSpan(parsePrefix(source)),
      destination: prefixSpan(parsePrefix(destination)),
      inputInterface: nameSpan(name, name === "" || name === "eth"),
    },
  },
});
const ANY = "0.0.0.0/0";
const [mine, theirs] = [mapping("b", "10.1.0.3", 80), mapping("a", "10.1.0.2", 80)];

test.each<[string, PortMapping, PortMapping]>([
  ["the same", mine, theirs],
  ["the same of one address", mapping("b", "fd00::3", 80, "fd00::1"), mapping("a", "fd00::2", 80, "fd00::1")],
  ["the same for some of the connections", only(mine, ANY, "192.0.2.0/24"), only(theirs, "10.0.0.0/8", ANY, "eth0")],
])("throws if the port is taken: %s", (_, wanted, holder) => {
  const dumped = held({ mappings: [holder], masquerades: [] });
  const add = () => adding(dumped, { mappings: [wanted], masquerades: [] });
  expect(add).toThrow(PortTakenError);
  expect(add).toThrow(/^host port 80\/tcp of .* is taken by a$/);
});

test.each<[string, PortMapping, PortMapping]>([
  ["another port", mapping("b", "10.1.0.3", 81), theirs],
  ["another protocol", mapping("b", "10.1.0.3", 80, undefined, 17), theirs],
  ["another address", mapping("b", "10.1.0.3", 80, "192.0.2.2"), mapping("a", "10.1.0.2", 80, "192.0.2.1")],
  ["one address, if another has all", mapping("b", "10.1.0.3", 80, "192.0.2.1"), theirs],
  ["all addresses, if another has one", mapping("b", "fd00::3", 80), mapping("a", "fd00::2", 80, "fd00::1")],
  ["the other family", mapping("b", "fd00::3", 80), theirs],
  ["all connections, if another has some", mine, only(theirs, "10.0.0.0/8", ANY)],
  ["other connections", only(mine, "10.0.0.0/8", ANY), only(theirs, "11.0.0.0/8", ANY)],
  ["another interface", only(mine, ANY, ANY, "eth0"), only(theirs, ANY, ANY, "eth1")],
])("adds only elements if the port is free: %s", (_, wanted, holder) => {
  const requests = adding(held({ mappings: [holder], masquerades: [] }), { mappings: [wanted], masquerades: [] });
  expect(new Set(requests.map(({ identifier }) => identifier))).toEqual(new Set(["NFT_MSG_NEWSETELEM"]));
});

test("recreates the table with its ports for the first port with a condition", () => {
  const requests = adding(held(mapOf([theirs])), mapOf([only(mine, "10.0.0.0/8", ANY, "eth")]));
  expect(requests[0]?.identifier).toBe("NFT_MSG_DELTABLE");
  const dumped = answers(requests);
  const read = readPortMap(dumped);
  expect(new Set(read.mappings)).toEqual(new Set([theirs, only(mine, "10.0.0.0/8", ANY, "eth")]));
  // The masqueraded sources are those of the condition that are in the pod's network.
  const { source } = read.masquerades.find(({ owner }) => owner === "b")?.host.condition ?? {};
  expect(source).toEqual(prefixSpan(parsePrefix("10.1.0.0/24")));
  const next = adding(dumped, mapOf([mapping("c", "10.1.0.4", 81)]));
  expect(new Set(next.map(({ identifier }) => identifier))).toEqual(new Set(["NFT_MSG_NEWSETELEM"]));
  expect(missingFromPortMap(dumped, mapOf([theirs]))).toEqual([]);
  expect(missingFromPortMap(dumped, mapOf([only(mine, "10.0.0.0/8", ANY, "eth")]))).toEqual([]);
  expect(missingFromPortMap(dumped, mapOf([only(mine, "10.0.0.0/8", ANY, "eth1")]))).toHaveLength(2);
});

test("replaces all ports of another holder only if the holder is gone", () => {
  const dumped = held(mapOf([theirs, mapping("a", "fd00::2", 81), mapping("c", "10.1.0.4", 82)]));
  const asked: unknown[] = [];
  const isGone = (holder: unknown) => asked.push(holder) > 0;
  const { requests, replaced } = addPortMap(dumped, mapOf([mine]), isGone);
  expect(asked).toEqual([{ owner: "a", targets: [parseAddress("10.1.0.2"), parseAddress("fd00::2")] }]);
  // Two ports with their masquerades, two pods' addresses, and the attachment.
  expect(deleted(requests)).toHaveLength(7);
  expect(new Set(replaced.map(({ owner }) => owner))).toEqual(new Set(["a"]));
  expect(() => addPortMap(dumped, mapOf([mine]), () => false)).toThrow(PortTakenError);
});

test("queries the sets for conditions only if they exist", () => {
  const texts: string[] = [];
  const asking = (seen: readonly Message[]) => {
    texts.length = 0;
    lookAtPortMapElements((questions) => {
      texts.push(...questions.map(({ text }) => text.replace(/.* /, "")));
      return texts.length > questions.length ? [] : seen;
    });
    return texts.filter((name) => name.startsWith("conditional"));
  };
  expect(asking(held(mapOf([theirs])))).toEqual([]);
  expect(asking(held(mapOf([only(theirs, ANY, ANY)])))).toHaveLength(8);
});

test("replaces the owner's ports, and other ports to its address", () => {
  const dumped = held(mapOf([mapping("a", "10.1.0.2", 1), mapping("a", "fd00::2", 1), mapping("c", "10.1.0.4", 2)]));
  expect(deleted(adding(dumped, mapOf([mapping("a", "10.1.0.2", 1)])))).toHaveLength(7);
  expect(deleted(adding(dumped, mapOf([mapping("b", "10.1.0.2", 1)])))).toHaveLength(7);
});

test("recreates a table of another shape with its elements", () => {
  const [first = mapping("", "::", 0), other] = [mapping("a", "fd00::2", 1), mapping("b", "10.1.0.3", 2)];
  const damaged = held(mapOf([first], 5)).filter(({ type }) => type !== NFT_MSG_NEWRULE.type);
  const requests = adding(damaged, mapOf([other]));
  expect(requests[0]?.identifier).toBe("NFT_MSG_DELTABLE");
  expect(owners(answers(requests)).sort()).toEqual(["a", "b"]);
  expect(requests.map(({ text }) => text)).toContainEqual(expect.stringMatching(/add chain .* mark-5$/));
});

test("recreates the table for another mark bit, and accepts the shape when the bit is unused", () => {
  const dumped = held(mapOf([mapping("a", "10.1.0.2", 1)]));
  const made = adding(dumped, mapOf([mapping("b", "10.1.0.3", 2)], 31));
  expect(made[0]?.identifier).toBe("NFT_MSG_DELTABLE");
  const again = adding(answers(made), mapOf([mapping("c", "10.1.0.4", 3)], 31));
  const left = answers(made).filter(({ type }) => type !== NFT_MSG_NEWSETELEM.type);
  const elements = dumped.filter(({ type }) => type === NFT_MSG_NEWSETELEM.type);
  expect(missingFromPortMap([...left, ...elements], mapOf([mapping("a", "10.1.0.2", 1)]))).toEqual([]);
  expect(new Set(again.map(({ identifier }) => identifier))).toEqual(new Set(["NFT_MSG_NEWSETELEM"]));
});

test("deletes the owner's elements from all maps, and sends nothing if there are none", () => {
  const dumped = held(mapOf([mapping("a", "10.1.0.2", 1), mapping("b", "10.1.0.3", 2, "192.0.2.1")]));
  expect(deleted(deletePortMap(dumped, (owner) => owner === "b")).sort()).toEqual([
    "address-masquerade4",
    "address-ports4",
    "owners",
    "pods4",
  ]);
  expect(deletePortMap(dumped, () => false)).toEqual([]);
  expect(deletePortMap([], () => true)).toEqual([]);
});

test("reports missing elements", () => {
  const map = mapOf([mapping("a", "10.1.0.2", 8080)]);
  expect(missingFromPortMap(held(map), map)).toEqual([]);
  expect(missingFromPortMap([], map)).toEqual(["the table inet weft_portmap is missing"]);
  expect([hasPorts(held(map), "a"), hasPorts(held(map), "b"), hasPorts([], "a")]).toEqual([true, false, false]);
  const other = mapOf([mapping("a", "10.1.0.9", 8080)]);
  expect(missingFromPortMap(held(other), map)).toEqual([
    'the element { tcp . 8080 comment "a" : 10.1.0.2 . 80 } of inet weft_portmap ports4 is missing',
    'the element { 10.1.0.2 comment "a" } of inet weft_portmap pods4 is missing',
  ]);
});

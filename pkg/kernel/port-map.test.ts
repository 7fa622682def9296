import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import { decode, type Message, type Request, request } from "../netlink/message.ts";
import {
  NFT_MSG_DELSETELEM,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
} from "../netlink/nftables.ts";
import {
  addPortMap,
  deletePortMap,
  missingFromPortMap,
  type PortMap,
  type PortMapping,
  PortTakenError,
  readPortMap,
} from "./port-map.ts";

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

const message = ({ type, body }: Request): Message => ({ type, payload: body, flags: 0, sequence: 0, portId: 0 });

/** What the kernel tells of a table right after `requests` made it: they have the form of its answers. */
function answers(requests: readonly Request[]): Message[] {
  const made = (type: { type: number }) => requests.filter((item) => item.type === type.type);
  const [sets, chains] = [made(NFT_MSG_NEWSET), made(NFT_MSG_NEWCHAIN)];
  const tables = made(NFT_MSG_NEWTABLE).map((item) => {
    const { header, attributes } = decode(NFT_MSG_NEWTABLE, message(item));
    // The kernel counts what is in the table.
    return request(NFT_MSG_NEWTABLE, item.text, header, { ...attributes, use: sets.length + chains.length });
  });
  return [...tables, ...sets, ...chains, ...made(NFT_MSG_NEWRULE), ...made(NFT_MSG_NEWSETELEM)].map(message);
}
const held = (map: PortMap) => answers(addPortMap([], map));
const owners = (dumped: readonly Message[]) => [...new Set(readPortMap(dumped).mappings.map(({ owner }) => owner))];
const deleted = (requests: readonly Request[]) =>
  requests
    .filter(({ type }) => type === NFT_MSG_DELSETELEM.type)
    .flatMap((item) => {
      const { attributes } = decode(NFT_MSG_DELSETELEM, message(item));
      return (attributes.elements ?? []).map(() => attributes.set);
    });

test("a map comes back from the elements that it is made of", () => {
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

test.each<[string, PortMapping, PortMapping]>([
  ["the same", mapping("b", "10.1.0.3", 80), mapping("a", "10.1.0.2", 80)],
  ["one address of all", mapping("b", "10.1.0.3", 80, "192.0.2.1"), mapping("a", "10.1.0.2", 80)],
  ["all addresses and one", mapping("b", "fd00::3", 80), mapping("a", "fd00::2", 80, "fd00::1")],
])("%s is taken", (_, wanted, holder) => {
  const add = () => addPortMap(held(mapOf([holder])), mapOf([wanted]));
  expect(add).toThrow(PortTakenError);
  expect(add).toThrow(/^host port 80\/tcp of .* is taken by a$/);
});

test.each<[string, PortMapping, PortMapping]>([
  ["another port", mapping("b", "10.1.0.3", 81), mapping("a", "10.1.0.2", 80)],
  ["another protocol", mapping("b", "10.1.0.3", 80, undefined, 17), mapping("a", "10.1.0.2", 80)],
  ["another address", mapping("b", "10.1.0.3", 80, "192.0.2.2"), mapping("a", "10.1.0.2", 80, "192.0.2.1")],
  ["the other family", mapping("b", "fd00::3", 80), mapping("a", "10.1.0.2", 80)],
])("%s is free, and only elements are added", (_, wanted, holder) => {
  const requests = addPortMap(held(mapOf([holder])), mapOf([wanted]));
  expect(new Set(requests.map(({ identifier }) => identifier))).toEqual(new Set(["NFT_MSG_NEWSETELEM"]));
});

test("what an owner had is replaced, and so is what leads to an address that has a new owner", () => {
  const dumped = held(mapOf([mapping("a", "10.1.0.2", 1), mapping("a", "fd00::2", 1), mapping("c", "10.1.0.4", 2)]));
  expect(deleted(addPortMap(dumped, mapOf([mapping("a", "10.1.0.2", 1)])))).toHaveLength(4);
  expect(deleted(addPortMap(dumped, mapOf([mapping("b", "10.1.0.2", 1)])))).toHaveLength(4);
});

test("a table of another shape is made anew with what its elements tell", () => {
  const [first = mapping("", "::", 0), other] = [mapping("a", "fd00::2", 1), mapping("b", "10.1.0.3", 2)];
  const damaged = held(mapOf([first], 5)).filter(({ type }) => type !== NFT_MSG_NEWRULE.type);
  const requests = addPortMap(damaged, mapOf([other]));
  expect(requests[0]?.identifier).toBe("NFT_MSG_DELTABLE");
  expect(owners(answers(requests)).sort()).toEqual(["a", "b"]);
  expect(requests.map(({ text }) => text)).toContainEqual(expect.stringMatching(/add chain .* mark-5$/));
});

test("another bit of the mark is another shape; as long as it is used", () => {
  const dumped = held(mapOf([mapping("a", "10.1.0.2", 1)]));
  const made = addPortMap(dumped, mapOf([mapping("b", "10.1.0.3", 2)], 31));
  expect(made[0]?.identifier).toBe("NFT_MSG_DELTABLE");
  const again = addPortMap(answers(made), mapOf([mapping("c", "10.1.0.4", 3)], 31));
  expect(new Set(again.map(({ identifier }) => identifier))).toEqual(new Set(["NFT_MSG_NEWSETELEM"]));
});

test("deleting takes the owner's elements of all maps, and nothing where there is none", () => {
  const dumped = held(mapOf([mapping("a", "10.1.0.2", 1), mapping("b", "10.1.0.3", 2, "192.0.2.1")]));
  expect(deleted(deletePortMap(dumped, (owner) => owner === "b")).sort()).toEqual(["address-ports4", "masquerade4"]);
  expect(deletePortMap(dumped, () => false)).toEqual([]);
  expect(deletePortMap([], () => true)).toEqual([]);
});

test("what is missing is told", () => {
  const map = mapOf([mapping("a", "10.1.0.2", 8080)]);
  expect(missingFromPortMap(held(map), map)).toEqual([]);
  expect(missingFromPortMap([], map)).toEqual(["the table inet weft_portmap is missing"]);
  const other = mapOf([mapping("a", "10.1.0.9", 8080)]);
  expect(missingFromPortMap(held(other), map)).toEqual([
    'the element { tcp . 8080 comment "a" : 10.1.0.2 . 80 } of inet weft_portmap ports4 is missing',
  ]);
});

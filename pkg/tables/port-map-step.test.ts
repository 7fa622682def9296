import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { parsePrefix } from "../ip/prefix.ts";
import type { BlockingNetlink } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { readRuleset } from "../netlink/ruleset.ts";
import { fakeBlockingNetlink } from "../nft/fake-blocking-netlink.ts";
import { FakeNftables } from "../nft/fake-nftables.ts";
import { createTable, flushRulesOf, flushSet, removeChain, removeSet } from "../nft/table.ts";
import { addPortMap, lookAtPortMap, missingFromPortMap, WHOLE_TABLE } from "./port-map.ts";
import { addByKey, removeByKey } from "./port-map-step.ts";
import { portMapTable } from "./port-map-table.ts";
import { EMPTY_PORT_MAP, type PortMap } from "./port-mapping.ts";

/** The ports of one pod, with one masqueraded source. */
function podOf(owner: string, target: string, ...ports: readonly number[]): PortMap {
  const address = parseAddress(target);
  const hosts = ports.map((port) => ({ protocol: 6, address: undefined, port }));
  const source = parsePrefix(address.family === 4 ? "10.1.0.0/16" : "fd00::/64");
  return {
    mappings: hosts.map((host) => ({ owner, host, target: address, targetPort: 80 })),
    masquerades: hosts.map((host) => ({ owner, host, source, markBit: 13 })),
  };
}

/** A kernel, and a record of the datagrams to it. */
class Bed {
  readonly kernel = new FakeNftables();
  readonly sent: number[] = [];
  readonly netlink: BlockingNetlink = fakeBlockingNetlink(this.kernel);

  constructor(...held: readonly PortMap[]) {
    for (const map of held) this.compare(map);
    this.kernel.beforeAnswer = (messages) => this.sent.push(messages.length);
  }

  look() {
    return lookAtPortMap((questions) => readRuleset(this.netlink, questions));
  }

  /** Adds ports after a comparison of the table. */
  compare(map: PortMap): void {
    this.netlink.commit(addPortMap(this.look(), map).requests);
  }

  missing(map: PortMap): string[] {
    return missingFromPortMap(this.look(), map);
  }

  /** The result of ADD by key, or the kernel's error. Without success, nothing has changed. */
  add(map: PortMap): boolean | string {
    const before = this.kernel.list();
    let outcome: boolean | string = false;
    try {
      outcome = addByKey(this.netlink, map);
    } catch (error) {
      if (!isNetlinkError(error)) throw error;
      outcome = error.code;
    }
    if (outcome !== true) expect(this.kernel.list()).toEqual(before);
    return outcome;
  }
}

const [first, second] = [podOf("a", "10.1.0.2", 80, 81), podOf("b", "10.1.0.3", 90)];

test("without a table nothing is added, and there is nothing to remove", () => {
  const bed = new Bed();
  expect(bed.add(first)).toBe(false);
  expect(removeByKey(bed.netlink, "a", first)).toEqual([]);
});

test("adds ports to a table with a stamp, as a comparison does", () => {
  const [bed, other] = [new Bed(first), new Bed(first)];
  expect(bed.add(second)).toBe(true);
  other.compare(second);
  expect(bed.kernel.list()).toEqual(other.kernel.list());
  expect([...bed.missing(first), ...bed.missing(second)]).toEqual([]);
});

test.each<[string, PortMap]>([
  ["a port is taken", podOf("b", "10.1.0.3", 79, 80)],
  ["the attachment already has ports", podOf("a", "10.1.0.9", 82)],
  ["ports of another attachment lead to the address", podOf("b", "10.1.0.2", 82)],
])("the kernel refuses the transaction if %s", (_, map) => {
  expect(new Bed(first).add(map)).toBe("EEXIST");
});

test("two datagrams add a port, however many ports are mapped", () => {
  const full = podOf("full", "10.1.9.9", ...Array.from({ length: 1000 }, (_, at) => 20_000 + 2 * at));
  const sent = [new Bed(first), new Bed(first, full)].map((bed) => {
    expect(bed.add(second)).toBe(true);
    return bed.sent;
  });
  expect(sent[0]).toHaveLength(2);
  expect(sent[1]).toEqual(sent[0]);
});

test("removes the ports of the attachment, by two datagrams", () => {
  const bed = new Bed(first, second);
  expect(removeByKey(bed.netlink, "a", first)).toEqual(first.mappings);
  expect(bed.sent).toHaveLength(2);
  expect(bed.kernel.list()).toEqual(new Bed(second).kernel.list());
  expect(removeByKey(bed.netlink, "a", EMPTY_PORT_MAP)).toEqual([]);
  expect(bed.sent).toHaveLength(3);
});

test.each<[string, PortMap]>([
  ["fewer ports", podOf("a", "10.1.0.2", 80)],
  ["more ports", podOf("a", "10.1.0.2", 80, 81, 82)],
  ["another address", podOf("a", "10.1.0.9", 80, 81)],
  ["other masqueraded sources", { ...first, masquerades: [] }],
  ["no ports", EMPTY_PORT_MAP],
])("removes nothing if the configuration has %s", (_, expected) => {
  const bed = new Bed(first, second);
  const before = bed.kernel.list();
  expect(removeByKey(bed.netlink, "a", expected)).toBeUndefined();
  expect(bed.kernel.list()).toEqual(before);
});

test("removes nothing if one of the elements is missing", () => {
  const bed = new Bed(first, second);
  bed.kernel.do(flushSet(WHOLE_TABLE, "masquerade4"));
  const before = bed.kernel.list();
  expect(() => removeByKey(bed.netlink, "a", first)).toThrow(/ENOENT/);
  expect(bed.kernel.list()).toEqual(before);
});

test.each([
  ["a rule is missing", [flushRulesOf(WHOLE_TABLE, "loopback")]],
  ["a chain is missing", [flushRulesOf(WHOLE_TABLE, "loopback"), removeChain(WHOLE_TABLE, "loopback")]],
  ["a set is missing", [flushSet(WHOLE_TABLE, "owners"), removeSet(WHOLE_TABLE, "owners")]],
])("leaves the table to a comparison, which repairs it, if %s", (_, damage) => {
  const bed = new Bed(first);
  const before = bed.kernel.list();
  bed.kernel.do(...damage);
  expect(bed.add(second)).toBe(false);
  expect(removeByKey(bed.netlink, "a", first)).toBeUndefined();
  bed.compare(first);
  expect(bed.kernel.list()).toEqual(before);
  expect(bed.add(second)).toBe(true);
});

test.each([
  ["no stamp", undefined],
  ["another layout", { layout: 1, parts: [0, 13] }],
])("leaves a table with %s to a comparison, which writes the stamp", (_, stamp) => {
  const bed = new Bed();
  const { stamp: _current, ...table } = portMapTable(first);
  bed.kernel.do(...createTable(stamp === undefined ? table : { ...table, stamp }));
  expect(bed.add(second)).toBe(false);
  bed.compare(second);
  expect([...bed.missing(first), ...bed.missing(second)]).toEqual([]);
  expect(bed.add(podOf("c", "10.1.0.4", 91))).toBe(true);
});

test("a missing element of the index shows in a comparison", () => {
  const bed = new Bed(first);
  bed.kernel.do(...["owners", "pods4"].map((set) => flushSet(WHOLE_TABLE, set)));
  expect(bed.missing(first)).toHaveLength(2);
  expect(bed.add(podOf("b", "10.1.0.3", 80))).toBe("EEXIST");
});

test("a comparison removes the index of ports that a version without the index has deleted", () => {
  const bed = new Bed(first, second);
  bed.kernel.do(...["ports4", "masquerade4"].map((set) => flushSet(WHOLE_TABLE, set)));
  const next = podOf("c", "10.1.0.2", 80);
  expect(bed.add(next)).toBe("EEXIST");
  bed.compare(next);
  expect(bed.kernel.list()).toEqual(new Bed(next).kernel.list());
});

test("ports without an entry of the index are left to a comparison", () => {
  const bed = new Bed(first);
  bed.kernel.do(flushSet(WHOLE_TABLE, "owners"));
  expect(removeByKey(bed.netlink, "a", first)).toBeUndefined();
});

test("ports with conditions are left to a comparison", () => {
  const everything = { first: 0n, last: 2n ** 32n - 1n };
  const condition = {
    source: everything,
    destination: everything,
    inputInterface: { first: 0n, last: 2n ** 128n - 1n },
  };
  const mappings = second.mappings.map((mapping) => ({ ...mapping, host: { ...mapping.host, condition } }));
  const bed = new Bed(first);
  expect(bed.add({ mappings, masquerades: [] })).toBe(false);
  bed.compare({ mappings, masquerades: [] });
  expect(bed.add(podOf("c", "10.1.0.4", 91))).toBe(true);
});

test("ports with another mark bit need a table with it", () => {
  const bed = new Bed(first);
  const other = { ...second, masquerades: second.masquerades.map((entry) => ({ ...entry, markBit: 5 })) };
  expect(bed.add(other)).toBe(false);
  bed.compare(other);
  expect(bed.add(podOf("c", "10.1.0.4", 91))).toBe(true);
  expect(bed.add({ ...podOf("d", "10.1.0.5", 92), masquerades: [] })).toBe(true);
});

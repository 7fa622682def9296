import { describe, expect, test } from "vitest";
import { networkOf, parsePrefix } from "../ip/prefix.ts";
import type { Message, Request } from "../netlink/message.ts";
import { dumpOf } from "../nft/table-dump.ts";
import { firewallTable, readFirewall } from "./firewall.ts";
import { macSpoofTable } from "./mac-spoof.ts";
import { podMasquerade } from "./pod-masquerade.ts";
import {
  type OwnedPart,
  ownersOf,
  type PodRules,
  planPodRules,
  removePodRules,
  type SeenPodRules,
} from "./pod-rules.ts";
import { portMapTable } from "./port-map-table.ts";
import { sendersTable } from "./senders-table.ts";

const wanted = (id: string, number: number, hostPort = 8080 + number): PodRules => {
  const owner = `cni:net/${id}/eth0`;
  const prefix = parsePrefix(`10.22.0.${number}/24`);
  const { address } = prefix;
  const host = { protocol: 6, address: undefined, port: hostPort };
  return {
    owner,
    masquerades: [{ owner, address, subnet: networkOf(prefix) }],
    ports: {
      mappings: [{ owner, host, target: address, targetPort: 80 }],
      masquerades: [{ owner, host, source: networkOf(prefix), markBit: 13 }],
    },
    guards: [{ owner, port: `veth${number}`, mac: `02:00:00:00:00:0${number}` }],
    senders: [
      {
        ...{ family: "bridge", owner, port: `veth${number}`, mac: `02:00:00:00:00:0${number}` },
        ...{ addresses: [address], asksDhcp: false },
      },
    ],
    firewall: { pods: [{ owner, address, bridge: "cni0" }], policies: new Map([["cni0", "same-bridge"]]) },
    forward: { adminChain: "CNI-ADMIN", usesFirewalld: undefined },
  };
};

const seenOf = (held: readonly PodRules[]): SeenPodRules => ({
  generation: 1,
  handles: new Map(),
  masquerades: dumpOf(podMasquerade(held.flatMap(({ masquerades }) => masquerades))),
  ports: dumpOf(
    portMapTable({
      mappings: held.flatMap(({ ports }) => ports.mappings),
      masquerades: held.flatMap(({ ports }) => ports.masquerades),
    }),
  ),
  guards: dumpOf(macSpoofTable(held.flatMap(({ guards }) => guards))),
  senders: dumpOf(
    sendersTable(
      "bridge",
      held.flatMap(({ senders }) => senders),
    ),
  ),
  firewall: readFirewall(
    dumpOf(
      firewallTable({
        pods: held.flatMap(({ firewall }) => firewall.pods),
        policies: new Map(held.flatMap(({ firewall }) => [...firewall.policies])),
      }),
    ),
  ),
  isolated: [],
});
const none: readonly Message[] = [];
const NOTHING: SeenPodRules = {
  ...{ generation: 1, handles: new Map(), masquerades: none, ports: none, guards: none, senders: none, isolated: [] },
  firewall: readFirewall([]),
};
const texts = (requests: readonly Request[]) => requests.map(({ text }) => text).join("\n");
const [a, b] = [wanted("a", 2), wanted("b", 3)];
const ALL = ["masquerade", "portmap", "macspoofchk", "firewall", "senders"];

test("pods of one bridge with different policies lack nothing: the stricter one applies", () => {
  const open = { ...b, firewall: { ...b.firewall, policies: new Map([["cni0", "isolated" as const]]) } };
  for (const both of [
    [a, open],
    [open, a],
  ]) {
    const seen = { ...seenOf(both), firewall: readFirewall(dumpOf(firewallTable(unionOf(both)))) };
    expect(planPodRules(seen, both)).toEqual({ requests: [], restored: [], obstacles: [] });
  }
});

/** The firewall in the kernel after all of them have been added. */
const unionOf = (rules: readonly PodRules[]) => ({
  pods: rules.flatMap(({ firewall }) => firewall.pods),
  policies: new Map([["cni0", "isolated" as const]]),
});

test("the time of a comparison is linear in the number of pods", () => {
  const pods = (count: number) => Array.from({ length: count }, (_, at) => wantedAt(at));
  const timeOf = (count: number) => {
    const all = pods(count);
    const times = [1, 2, 3].map(() => {
      const seen = seenOf(all);
      const began = process.cpuUsage().user;
      expect(planPodRules(seen, all).requests).toEqual([]);
      return process.cpuUsage().user - began;
    });
    return Math.min(...times);
  };
  timeOf(50);
  // Eight times as many pods: the factor would be 64 if each pod read the entire table.
  expect(timeOf(400) / timeOf(50)).toBeLessThan(24);
});

/** One of thousands of pods. */
const wantedAt = (at: number): PodRules => {
  const pod = wanted(`p${at}`, 2, 10_000 + at);
  const address = parsePrefix(`10.23.${at >> 8}.${at & 255}/16`);
  const target = address.address;
  return {
    ...pod,
    masquerades: pod.masquerades.map((entry) => ({ ...entry, address: target, subnet: networkOf(address) })),
    ports: {
      mappings: pod.ports.mappings.map((mapping) => ({ ...mapping, target })),
      masquerades: pod.ports.masquerades.map((entry) => ({ ...entry, source: networkOf(address) })),
    },
    guards: pod.guards.map((guard) => ({ ...guard, port: `veth${at}` })),
    firewall: { ...pod.firewall, pods: pod.firewall.pods.map((one) => ({ ...one, address: target })) },
  };
};

test("plans nothing if everything exists", () => {
  expect(planPodRules(seenOf([a, b]), [a, b])).toEqual({ requests: [], restored: [], obstacles: [] });
  expect(planPodRules(NOTHING, [])).toEqual({ requests: [], restored: [], obstacles: [] });
});

test("restores everything in one transaction if the tables are gone", () => {
  const { requests, restored, obstacles } = planPodRules(NOTHING, [a, b]);
  for (const table of [
    "inet weft_masquerade",
    "inet weft_portmap",
    "bridge weft_macspoof",
    "bridge weft-senders",
    "inet weft_firewall",
  ])
    expect(texts(requests)).toContain(`nft add table ${table}`);
  expect(restored).toEqual(ALL.flatMap((part) => [a, b].map(({ owner }) => ({ owner, part }))));
  expect(obstacles).toEqual([]);
});

test("adds only the missing rules, next to another attachment's", () => {
  const { requests, restored } = planPodRules(seenOf([a]), [a, b]);
  expect(new Set(restored.map(({ owner }) => owner))).toEqual(new Set([b.owner]));
  expect(texts(requests)).not.toMatch(/add table|delete/);
  expect(texts(requests)).not.toContain(a.owner);
  expect(texts(requests)).toContain(`10.22.0.3 comment "${b.owner}"`);
});

test("does not restore parts that are not due, and calls isDue once", () => {
  const asked: OwnedPart[] = [];
  const plan = planPodRules(NOTHING, [a], (part) => {
    asked.push(part);
    return part.part === "portmap";
  });
  expect(asked).toEqual(ALL.map((part) => ({ owner: a.owner, part })));
  expect(plan.restored).toEqual([{ owner: a.owner, part: "portmap" }]);
  expect(texts(plan.requests)).not.toContain("weft_masquerade");
});

describe("takes nothing from another attachment", () => {
  test("that now has the host port, or gets it in the same transaction", () => {
    const taken = wanted("b", 3, 8082);
    for (const { obstacles, restored } of [planPodRules(seenOf([taken]), [a]), planPodRules(NOTHING, [taken, a])]) {
      expect(obstacles).toEqual([
        {
          ...{ owner: a.owner, part: "portmap" },
          reason: "container b, interface eth0, network net now has 8082/tcp of any IPv4 address",
        },
      ]);
      expect(restored).toContainEqual({ owner: a.owner, part: "masquerade" });
    }
  });

  test("that now has the address", () => {
    const heir = wanted("heir", 2, 9000);
    const { requests, obstacles } = planPodRules(seenOf([heir]), [a]);
    expect(obstacles.map(({ part }) => part)).toEqual(["masquerade", "portmap", "firewall", "senders"]);
    expect(texts(requests)).not.toContain("10.22.0.2");
  });
});

test("removes the owner's elements from all tables, and no others", () => {
  const text = texts(removePodRules(seenOf([a, b]), (owner) => owner === a.owner));
  for (const table of [
    "inet weft_masquerade",
    "inet weft_portmap",
    "bridge weft_macspoof",
    "bridge weft-senders",
    "inet weft_firewall",
  ])
    expect(text).toContain(`nft delete element ${table}`);
  expect(text).not.toContain("(2 of them)");
  expect(removePodRules(seenOf([a]), () => false)).toEqual([]);
  expect(removePodRules(NOTHING, () => true)).toEqual([]);
});

test("returns owners by part", () => {
  const empty = { ...b, guards: [], masquerades: [] };
  const owners = ownersOf(seenOf([a, empty]));
  expect([...owners].map(([part, of]) => [part, [...of]])).toEqual([
    ["masquerade", [a.owner]],
    ["portmap", [a.owner, b.owner]],
    ["macspoofchk", [a.owner]],
    ["firewall", [a.owner, b.owner]],
    ["senders", [a.owner, b.owner]],
  ]);
});

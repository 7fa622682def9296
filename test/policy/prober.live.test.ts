/** The bed of truth tables without policies, and with rules written by hand: the prober sees exactly what is dropped. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { Cleanup } from "../live/harness/cleanup.ts";
import { PATIENCE } from "../live/harness/process.ts";
import { PolicyBed, type TableOutcome } from "./bed.ts";
import { NODES } from "./scene.ts";
import { describeTable, type Endpoint, type ProbeClass } from "./truth-table.ts";

const cleanup = new Cleanup();
let bed: PolicyBed;

beforeAll(async () => {
  bed = await PolicyBed.start(cleanup);
});
afterAll(() => cleanup.run());

/** Long enough for expected replies, since nothing changes. */
const AT_ONCE = { effectMs: 0, limitMs: 3000 * PATIENCE };

type Rule = (from: Endpoint, to: Endpoint, probe: ProbeClass) => boolean;

const listed = ({ mismatches }: TableOutcome) =>
  mismatches.map(({ from, to, probe, expected, result }) =>
    [from, to, `${probe.protocol}${probe.family}`, probe.port, expected, result].join(" "),
  );

/** Replaces the hand-written rules of both nodes. */
async function drop(rules: readonly string[]): Promise<void> {
  for (const name of NODES) {
    const { inside } = bed.node(name);
    await inside.succeed("nft", ["add table inet by-hand; delete table inet by-hand"]);
    if (rules.length === 0) continue;
    const chain = (hook: string) =>
      `chain ${hook} { type filter hook ${hook} priority -5; ct state established,related accept; ${rules.join("; ")}; }`;
    await inside.succeed("nft", [`table inet by-hand { ${chain("forward")}; ${chain("input")}; }`]);
  }
}

test("without rules, every endpoint reaches every other", async () => {
  const outcome = await bed.probe(() => true);
  expect(listed(outcome)).toEqual([]);
  expect(outcome.attempts).toBe(1);
});

const isBetween = (from: Endpoint, to: Endpoint, one: string, other: string) => from.name === one && to.name === other;

test.each<[name: string, rules: (from: string, to: string, toSix: string) => string[], isDropped: Rule]>([
  [
    "one protocol and port of one pair",
    (from, to) => [`ip saddr ${from} ip daddr ${to} udp dport 81 drop`],
    (from, to, { family, protocol, port }) =>
      isBetween(from, to, "x/a", "y/a") && family === 4 && protocol === "UDP" && port === 81,
  ],
  [
    "one protocol to one pod from everywhere but its node",
    (_, to, toSix) => [`ip daddr ${to} meta l4proto sctp drop`, `ip6 daddr ${toSix} meta l4proto sctp drop`],
    (from, to, { protocol }) =>
      to.name === "y/a" && protocol === "SCTP" && from !== to && !(from.kind === "node" && from.node === to.node),
  ],
  [
    "all traffic from one pod",
    (from) => [`ip saddr ${from} drop`],
    (from, to, { family }) => from.name === "x/a" && from !== to && family === 4,
  ],
  ["TCP connections", () => ["tcp dport { 80, 81 } drop"], isForwarded(({ protocol }) => protocol === "TCP")],
  [
    "echo requests of one family",
    () => ["icmpv6 type echo-request drop"],
    isForwarded(({ family, protocol }) => family === 6 && protocol === "ICMP"),
  ],
])("rules that drop %s make exactly these probes fail", async (_, rules, isDropped) => {
  const { scene } = bed;
  await drop(rules(scene.addressOf("x/a", 4), scene.addressOf("y/a", 4), scene.addressOf("y/a", 6)));
  try {
    const outcome = await bed.probe((...args) => !isDropped(...args));
    expect(listed(outcome)).toEqual([]);
  } finally {
    await drop([]);
  }
});

/** Packets of a node to its own pods, and of a pod to itself, pass neither hook. */
function isForwarded(isDropped: (probe: ProbeClass) => boolean): Rule {
  return (from, to, probe) => from !== to && !(from.kind === "node" && from.node === to.node) && isDropped(probe);
}

test("names each probe that arrives although it must not, and each that must arrive and does not", async () => {
  await drop([`ip daddr ${bed.scene.addressOf("z/c", 4)} tcp dport 80 drop`]);
  try {
    const outcome = await bed.probe((from, to) => !isBetween(from, to, "x/a", "x/b"), AT_ONCE);
    const found = listed(outcome);
    expect(found).toHaveLength(14 + 9);
    expect(found).toContain("x/a x/b SCTP6 81 0 2");
    expect(found).toContain("y/b z/c TCP4 80 1 0");
    const text = describeTable(outcome.endpoints, outcome.expected, outcome.results);
    expect(text).toMatch(/IPv4 TCP 80, from row to column:/);
    expect(text).toMatch(/^x\/a {3}\. {2}L! .* {2}D! /m);
  } finally {
    await drop([]);
  }
});

test("reports packets whose replies are dropped", async () => {
  const reply = `ip saddr ${bed.scene.addressOf("y/b", 4)} udp sport 80`;
  for (const name of NODES) {
    const chain = `chain forward { type filter hook forward priority -5; ${reply} drop; }`;
    await bed.node(name).inside.succeed("nft", [`table inet by-hand { ${chain}; }`]);
  }
  try {
    const found = listed(await bed.probe(() => true, AT_ONCE));
    expect(found.filter((line) => !/^\S+ y\/b UDP4 80 1 1$/.test(line))).toEqual([]);
    // All endpoints but the pod itself and its node, whose packets are not forwarded.
    expect(found).toHaveLength(9);
  } finally {
    await drop([]);
  }
});

/**
 * The rules of running pods converge after any damage: all are restored, other programs' objects are untouched, and a
 * second comparison sends nothing.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { RestoredPodRules } from "../../daemon/controllers/pod-rules/pod-rules.ts";
import { NetlinkPodRules } from "../../daemon/controllers/pod-rules/pod-rules-kernel.ts";
import { type CachedAttachment, parseCachedAttachment } from "../../pkg/attachment/cached.ts";
import { wantedRules } from "../../pkg/attachment/wanted-rules.ts";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { FakeKernel } from "../../pkg/kernel/fake-kernel.ts";
import { changeLink, createVeth, deleteLink } from "../../pkg/kernel/link.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NFT_MSG_DELTABLE } from "../../pkg/netlink/nftables.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../pkg/nft/fake-nftables-socket.ts";
import type { Table } from "../../pkg/nft/table.ts";
import { FakeEventNetlink } from "../../pkg/sys/fake-event-netlink.ts";
import { firewallTable } from "../../pkg/tables/firewall.ts";
import { macSpoofTable } from "../../pkg/tables/mac-spoof.ts";
import { podMasquerade } from "../../pkg/tables/pod-masquerade.ts";
import { planPodRules } from "../../pkg/tables/pod-rules.ts";
import { portMapTable } from "../../pkg/tables/port-map-table.ts";
import { EMPTY_PORT_MAP } from "../../pkg/tables/port-mapping.ts";
import { SENDERS_FAMILIES, sendersTable } from "../../pkg/tables/senders-table.ts";
import { runs } from "../fuzz/samples.ts";
import { heardBases } from "./bases.ts";
import { change } from "./change.ts";
import { applyDamage, type Damage, damage } from "./damage.ts";
import { rule, STRANGERS, table } from "./strangers.ts";

/** Pods with even numbers are bridged, others are routed. */
const config = (number: number) => ({
  name: "net",
  plugins: [
    {
      type: number % 2 === 0 ? "bridge" : "ptp",
      ipMasq: true,
      macspoofchk: true,
      guardSenders: true,
      ipam: { type: "host-local" },
    },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall" },
  ],
});
const markOf = (number: number) => `cni:net/pod${number}/eth0`;

/** From the runtime's cache. */
function attachment(number: number): CachedAttachment {
  const content = {
    ...{ containerId: `pod${number}`, ifName: "eth0", networkName: "net" },
    config: Buffer.from(JSON.stringify(config(number))).toString("base64"),
    capabilityArgs: { portMappings: [{ hostPort: 8000 + number, containerPort: 80, protocol: "tcp" }] },
    result: {
      cniVersion: "1.0.0",
      interfaces: [{ name: "eth0", mac: `02:00:00:00:00:0${number}`, sandbox: "/run/netns/x" }],
      ips: [
        { address: `10.22.0.${number}/24`, interface: 0 },
        { address: `fd00:22::${number}/64`, interface: 0 },
      ],
    },
  };
  return parseCachedAttachment(new TextEncoder().encode(JSON.stringify(content))) as CachedAttachment;
}

/** Longer than the patience for rules that are missing in an existing table, and than the interval. */
const LATER_MS = 61_000;
const FIRST_INDEX = 2;

function bench(pods: readonly number[]) {
  const clock = new ManualClock();
  const nftables = new FakeNftables();
  const links = new FakeKernel();
  pods.forEach((pod, at) => {
    const peer = { name: "eth0", mac: "02:00:00:00:00:aa" };
    links.do(createVeth({ name: `veth${pod}`, mac: "02:00:00:00:00:bb", peer }));
    links.do(changeLink(FIRST_INDEX + at, { alias: markOf(pod) }));
  });
  const cached = new Map(pods.map((pod) => [markOf(pod), attachment(pod)]));
  const ours = new EventedNetlink(new FakeNftablesSocket(nftables, 1), "a test", clock);
  const kernel = new NetlinkPodRules(
    new EventedNetlink(new FakeEventNetlink(1, links.answer), "a test", clock),
    ours,
    heardBases(nftables),
  );
  const missing: string[] = [];
  const restored: string[] = [];
  const rules = new RestoredPodRules({
    ...{ clock, kernel },
    cached: { read: () => new Map(cached), hasFileOf: () => false },
    gate: { mayPutBack: () => true, refused: () => undefined, assertNothingRests: () => undefined },
    usesLegacyIptables: () => true,
    onRestored: (parts) => void restored.push(...parts.map(({ owner }) => owner)),
    onOrphansRemoved: () => undefined,
    onMissing: (reasons) => missing.splice(0, missing.length, ...reasons),
  });
  const wanted = () => [...cached].map(([mark, each]) => wantedRules(each, `veth${mark.match(/\d+/)?.[0]}`).rules);
  const attached = () => pods.filter((pod) => cached.has(markOf(pod)));
  return { clock, nftables, links, cached, kernel, rules, missing, restored, wanted, pods: attached };
}
type Bench = ReturnType<typeof bench>;

/** Advances the clock for a pass that waits before a retry. */
async function pass({ clock, rules }: Bench): Promise<void> {
  let isDone = false;
  const work = rules.pass().finally(() => {
    isDone = true;
  });
  work.catch(() => undefined);
  while (!isDone) {
    await new Promise(setImmediate);
    if (!isDone) clock.advance(10);
  }
  await work;
}

/** Passes until rules that are missing in existing tables are restored, too. */
async function settle(made: Bench): Promise<void> {
  for (let passes = 0; passes < 3; passes++) {
    await pass(made);
    made.clock.advance(LATER_MS);
  }
}

/** The lines of weft's own tables. */
const ownIn = ({ nftables }: Bench): string[] => nftables.list().filter((line) => /^\w+ weft[_-]/.test(line));

/**
 * Expects the tables to contain everything that they contain after an ADD on a node without damage, and possibly more.
 */
async function assertHeld(made: Bench): Promise<void> {
  const undamaged = bench(made.pods());
  await pass(undamaged);
  expect(ownIn(made)).toEqual(expect.arrayContaining(ownIn(undamaged)));
  const { requests, restored, obstacles } = planPodRules(await made.kernel.look(), made.wanted());
  expect([requests.map(({ text }) => text), restored, obstacles]).toEqual([[], [], []]);
  expect(made.missing).toEqual([]);
}

async function assertRests(made: Bench): Promise<void> {
  const { nftables } = made;
  const [list, transactions] = [nftables.list(), nftables.transactions];
  await pass(made);
  expect(nftables.list()).toEqual(list);
  expect(nftables.transactions).toBe(transactions);
}

/** Without weft's tables, and its rules in others. */
const strangersIn = ({ nftables }: Bench): string[] =>
  nftables.list().filter((line) => !/^\w+ weft[_-]/.test(line) && !/"cni:|"weft|CNI-FORWARD/.test(line));

const TABLES: readonly Table[] = [
  podMasquerade([]),
  portMapTable(EMPTY_PORT_MAP),
  macSpoofTable([]),
  ...SENDERS_FAMILIES.map((family) => sendersTable(family, [])),
  firewallTable({ pods: [], policies: new Map() }),
];
const pods = fc.uniqueArray(fc.integer({ min: 2, max: 6 }), { minLength: 1 });
/** weftd reports tables with an owner and does not change them; another test covers that. */
const isPassable = (one: Damage) => one.kind !== "arrival" || one.program !== "firewalld";
const damages = fc.array(fc.tuple(fc.constantFrom(...TABLES), damage.filter(isPassable)), { maxLength: 4 });

test("restores the rules of pods after any damage; the next comparison sends nothing", async () => {
  await fc.assert(
    fc.asyncProperty(pods, damages, damages, async (running, before, between) => {
      const made = bench(running);
      for (const [table, one] of before) applyDamage({ ...made, table }, one);
      await settle(made);
      await assertHeld(made);
      for (const [table, one] of between) applyDamage({ ...made, table }, one);
      const untouched = strangersIn(made);
      await settle(made);
      await assertHeld(made);
      expect(strangersIn(made)).toEqual(untouched);
      await assertRests(made);
    }),
    { numRuns: runs(3, 120) },
  );
});

test.each([
  ["element", "weft_masquerade", "pods4"],
  ["element", "weft_portmap", "ports4"],
  ["value", "weft_portmap", "ports4"],
  ["element", "weft_macspoof", "ports"],
  ["element", "weft_firewall", "pods4"],
  ["element", "weft-senders", "ports"],
  ["element", "weft-senders", "macs"],
  ["element", "weft-senders", "targets6"],
] as const)("restores a damaged %s of %s %s", async (kind, name, of) => {
  const made = bench([2, 3]);
  await settle(made);
  const table = TABLES.find((each) => each.name === name) as Table;
  const set = table.sets.findIndex((each) => each.name === of);
  const list = made.nftables.list();
  applyDamage({ ...made, table }, { kind, set, at: 0 });
  expect(made.nftables.list()).not.toEqual(list);
  await settle(made);
  await assertHeld(made);
});

test("one pass restores tables that another program deleted", async () => {
  const made = bench([2, 3]);
  await pass(made);
  await assertHeld(made);
  const list = made.nftables.list();
  made.nftables.do(change(NFT_MSG_DELTABLE, "flush ruleset", {}, {}));
  await pass(made);
  await assertHeld(made);
  expect([...made.nftables.list()].sort()).toEqual([...list].sort());
});

test("a pass retries while other programs commit first", async () => {
  const made = bench([2]);
  const { nftables } = made;
  let overtaken = 0;
  nftables.beforeAnswer = ([first]) => {
    if (first?.type !== 16 || overtaken === 5) return;
    overtaken += 1;
    nftables.do(table("ip", `busy${overtaken}`));
  };
  await pass(made);
  expect(overtaken).toBe(5);
  await assertHeld(made);
});

test("removes the restored rules of a pod that ends, and keeps those of other pods", async () => {
  const made = bench([2, 3]);
  await pass(made);
  made.nftables.do(change(NFT_MSG_DELTABLE, "flush ruleset", {}, {}));
  await pass(made);
  made.links.do(deleteLink(FIRST_INDEX));
  made.cached.delete(markOf(2));
  await settle(made);
  await assertHeld(made);
  expect(made.nftables.list().filter((line) => line.includes(markOf(2)))).toEqual([]);
  expect(made.nftables.list().filter((line) => line.includes(markOf(3)))).not.toEqual([]);
});

test("accepts pods' traffic in chains that drop packets, and does not change their own rules", async () => {
  const made = bench([2]);
  await settle(made);
  made.nftables.do(...(STRANGERS.site ?? []), ...(STRANGERS.docker ?? []));
  const untouched = strangersIn(made);
  await settle(made);
  const accepted = made.nftables.list().filter((line) => /^(inet site|ip filter) rule .*10,22,0,2/.test(line));
  expect(accepted).toHaveLength(4);
  expect(strangersIn(made)).toEqual(untouched);
  made.nftables.do(rule("inet", "site", "forward", { kind: "counter", data: {} }));
  await assertRests(made);
});

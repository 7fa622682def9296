/**
 * The firewall converges from any ruleset: weft's table is exactly as desired, other programs' forward chains accept
 * pods' traffic, other programs' objects are untouched, and a second pass sends nothing.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type DesiredFirewall, Firewall } from "../../daemon/controllers/node-rules/firewall.ts";
import { Programmer } from "../../daemon/core/drivers/programmer.ts";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { formatPrefix, parsePrefix } from "../../pkg/ip/prefix.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { NFPROTO, NFT_MSG_DELCHAIN, NFT_MSG_DELTABLE, VERDICT } from "../../pkg/netlink/nftables.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../pkg/nft/fake-nftables-socket.ts";
import { createTable } from "../../pkg/nft/table.ts";
import { OPEN_GATE } from "../../pkg/reconcile/repair-gate.ts";
import { type NodeRulesSettings, nodeRules } from "../../pkg/tables/node-rules.ts";
import { runs } from "../fuzz/samples.ts";
import { heardBases } from "./bases.ts";
import { change } from "./change.ts";
import { applyDamage, type Damage, damage, deleteTable } from "./damage.ts";
import { rule, STRANGERS } from "./strangers.ts";

const NO_LINKS = {
  dump: () => Promise.reject(new Error("this test dumps no links")),
  exchange: () => Promise.reject(new Error("this test dumps no links")),
};

const RANGES = ["10.244.0.0/16", "10.250.1.0/24", "fd00:10::/56"].map(parsePrefix);
const PEERS = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3"].map(parseAddress);
const settings: fc.Arbitrary<NodeRulesSettings> = fc.record({
  podRanges: fc.subarray(RANGES, { minLength: 1 }),
  exempt: fc.subarray(PEERS),
  nonMasquerade: fc.subarray([parsePrefix("172.16.0.0/12")]),
  senders: fc.subarray(PEERS),
  tunnels: fc.subarray([
    { family: 4 as const, port: 8472, vni: 1 },
    { family: 6 as const, port: 8472, vni: 2 },
  ]),
});
const wishesOf = (wanted: NodeRulesSettings): DesiredFirewall => ({
  table: nodeRules(wanted),
  ranges: wanted.podRanges,
});
const damages = fc.array(damage, { maxLength: 5 });

function bench() {
  const nftables = new FakeNftables();
  const clock = new ManualClock();
  const ours = new EventedNetlink(new FakeNftablesSocket(nftables, 1), "a test", clock);
  const blocked: string[] = [];
  const firewall = new Firewall({
    clock,
    programmer: new Programmer(NO_LINKS, ours, heardBases(nftables)),
    gate: OPEN_GATE,
    onBlocked: (reasons) => blocked.splice(0, blocked.length, ...reasons),
  });
  return { nftables, ours, firewall, blocked };
}
type Bench = ReturnType<typeof bench>;

/** Without weft's rules in other programs' tables. */
const strangersIn = ({ nftables }: Bench): string[] =>
  nftables.list().filter((line) => !line.startsWith("inet weft ") && !/"weft|CNI-FORWARD/.test(line));

const RULES_A_RANGE = 2;

/** Expects a rule for each direction of a range. */
function acceptedIn({ nftables }: Bench, place: string, { ranges }: DesiredFirewall, family?: 4 | 6): void {
  const rules = nftables.list().filter((line) => line.startsWith(`${place} "weft:pods `));
  const concerned = ranges.filter(({ address }) => family === undefined || address.family === family);
  expect(rules).toHaveLength(concerned.length * RULES_A_RANGE);
  for (const range of concerned)
    expect(rules.filter((line) => line.includes(`"weft:pods ${formatPrefix(range)}"`))).toHaveLength(RULES_A_RANGE);
}

/** The lines of weft's own table, elements in any order. */
const ownIn = (nftables: FakeNftables): string[] =>
  nftables
    .list()
    .filter((line) => line.startsWith("inet weft "))
    .sort();

function assertHeld(made: Bench, desired: DesiredFirewall): void {
  const { nftables } = made;
  const fresh = new FakeNftables();
  fresh.do(...createTable(desired.table));
  expect(ownIn(nftables)).toEqual(ownIn(fresh));
  const list = nftables.list();
  const has = (chain: string) => list.some((line) => line.startsWith(`${chain} {`));
  if (has("inet site chain forward")) acceptedIn(made, "inet site rule forward", desired);
  const hasFour = desired.ranges.some(({ address }) => address.family === 4);
  if (has("ip filter chain FORWARD") && hasFour) {
    acceptedIn(made, "ip filter rule CNI-FORWARD", desired, 4);
    const jumps = list.filter((line) => line.startsWith("ip filter rule FORWARD") && line.includes('"CNI-FORWARD"'));
    expect(jumps).toHaveLength(1);
  }
  expect(made.blocked).toHaveLength(has("inet firewalld chain filter_FORWARD") ? 1 : 0);
}

/** Each pass tries to change an owned table, and the kernel rejects it; nothing else is sent. */
async function assertRests(made: Bench): Promise<void> {
  const { nftables, firewall, blocked } = made;
  const [list, transactions] = [nftables.list(), nftables.transactions];
  expect(await firewall.restore()).toEqual([]);
  expect(nftables.list()).toEqual(list);
  expect(nftables.transactions - transactions).toBe(blocked.length);
}

test("converges from any ruleset in one pass; the next pass sends nothing", async () => {
  await fc.assert(
    fc.asyncProperty(settings, damages, settings, damages, async (former, before, wanted, between) => {
      const made = bench();
      const { firewall } = made;
      const past = wishesOf(former);
      await firewall.keep(past);
      applyDamage({ ...made, table: past.table }, ...before);
      const desired = wishesOf(wanted);
      const untouched = strangersIn(made);
      await firewall.keep(desired);
      assertHeld(made, desired);
      expect(strangersIn(made)).toEqual(untouched);
      await assertRests(made);

      applyDamage({ ...made, table: desired.table }, ...between);
      const left = strangersIn(made);
      await firewall.restore();
      assertHeld(made, desired);
      expect(strangersIn(made)).toEqual(left);
      await assertRests(made);
    }),
    { numRuns: runs(20, 600) },
  );
});

test.each<[string, Damage]>([
  ["an element is removed", { kind: "element", set: 0, at: 0 }],
  ["an element is added", { kind: "stray", set: 1 }],
  ["a set is flushed", { kind: "set", set: 0 }],
  ["rules are flushed", { kind: "rules", chain: 0 }],
  ["a chain is added", { kind: "chain" }],
  ["the table becomes dormant", { kind: "dormant" }],
  ["the table is removed", { kind: "table" }],
  ["everything is removed", { kind: "ruleset" }],
  ["a program starts whose chain drops packets", { kind: "arrival", program: "docker" }],
])("restores the table after: %s", async (_, one) => {
  const made = bench();
  const desired = wishesOf({ podRanges: RANGES, exempt: PEERS, senders: PEERS, tunnels: [] });
  await made.firewall.keep(desired);
  applyDamage({ ...made, table: desired.table }, one);
  expect(await made.firewall.restore()).not.toEqual([]);
  assertHeld(made, desired);
});

const settled = { podRanges: RANGES, exempt: PEERS, senders: [], tunnels: [] };

/** Commits `requests` just before weft's next transaction, after its dumps. */
function meanwhile({ nftables }: Bench, ...requests: readonly Request[]): void {
  nftables.beforeAnswer = ([first]) => {
    const isTransaction = first?.type === 16;
    if (!isTransaction) return;
    nftables.beforeAnswer = () => undefined;
    nftables.do(...requests);
  };
}

test("a forward chain deleted between dump and commit is dumped again", async () => {
  const made = bench();
  const { nftables, firewall } = made;
  await firewall.keep(wishesOf(settled));
  nftables.do(...(STRANGERS.site ?? []), ...(STRANGERS.docker ?? []));
  const place = { table: "filter", name: "FORWARD" };
  meanwhile(made, change(NFT_MSG_DELCHAIN, "delete chain", { family: NFPROTO.ip }, place));
  await firewall.restore();
  expect(nftables.transactions).toBeGreaterThan(2);
  assertHeld(made, wishesOf(settled));
  await assertRests(made);
});

test("a table deleted between dump and commit fails the pass; the next pass creates it", async () => {
  const made = bench();
  const { firewall } = made;
  const desired = wishesOf(settled);
  await firewall.keep(desired);
  applyDamage({ ...made, table: desired.table }, { kind: "stray", set: 1 });
  meanwhile(made, deleteTable(desired.table));
  await expect(firewall.restore()).rejects.toThrow("(ENOENT)");
  expect(await firewall.restore()).toEqual(["table inet weft"]);
  assertHeld(made, desired);
});

test("a chain that no longer drops packets keeps weft's rules", async () => {
  const made = bench();
  const { nftables, firewall } = made;
  nftables.do(...(STRANGERS.site ?? []));
  await firewall.keep(wishesOf(settled));
  nftables.do(rule("inet", "site", "forward", accept()));
  const list = nftables.list();
  await firewall.restore();
  expect(nftables.list()).toEqual(list);
});

test("NFT_MSG_NEWGEN announces only commits of other sockets", async () => {
  const { nftables, firewall } = bench();
  const listener = new FakeNftablesSocket(nftables, 3);
  let heard = 0;
  listener.onDatagram(() => {
    heard += 1;
  });
  listener.addMembership(7);
  listener.ignore(1);
  await firewall.keep(wishesOf(settled));
  expect(heard).toBe(0);
  nftables.do(change(NFT_MSG_DELTABLE, "flush ruleset", {}, {}));
  await firewall.restore();
  expect(heard).toBe(1);
});

function accept() {
  return { kind: "immediate", data: { dreg: 0, data: { verdict: { code: VERDICT.accept } } } } as const;
}

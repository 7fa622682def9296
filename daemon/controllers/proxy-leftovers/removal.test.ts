/**
 * Runs against the nf_tables in memory: carries out the plan, and checks that only kube-proxy's objects are removed.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { MOST_REMOVED } from "../../../pkg/foreign/kube-proxy/leftovers.ts";
import { isProxyChain, type XTable } from "../../../pkg/foreign/kube-proxy/names.ts";
import { parseSaved } from "../../../pkg/foreign/legacy-xtables.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { NFT_MSG_DELCHAIN } from "../../../pkg/netlink/nftables.ts";
import { accept, jump } from "../../../pkg/nft/expressions.ts";
import { FakeNftables } from "../../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../../pkg/nft/fake-nftables-socket.ts";
import { type Chain, replaceTable, type Table } from "../../../pkg/nft/table.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import { LeftoverRemoval, type RemovalParts, type Removed } from "./removal.ts";

const HOOKS = {
  PREROUTING: "prerouting",
  INPUT: "input",
  FORWARD: "forward",
  OUTPUT: "output",
  POSTROUTING: "postrouting",
} as const;

/**
 * One of iptables-nft's tables, as recorded on a node with kube-proxy in iptables mode. It keeps only the jumps of its
 * rules.
 */
function recorded(family: "ip" | "ip6", name: XTable, more: readonly Chain[] = []): Table {
  const saved = readFileSync("test/vectors/kube-proxy/iptables-mode-n1.txt", "utf8");
  const { chains, rules } = parseSaved(saved.split("COMMIT").find((part) => part.includes(`\n*${name}\n`)) ?? "");
  const targets = new Set(chains);
  const rulesOf = (chain: string) =>
    rules
      .filter((rule) => rule.chain === chain)
      .map(({ target = "", comment = "" }) => ({ statements: [targets.has(target) ? jump(target) : accept], comment }));
  return {
    ...{ family, name, comment: "", sets: [] },
    chains: [
      ...chains.map((chain): Chain => {
        const hook = HOOKS[chain as keyof typeof HOOKS];
        if (hook === undefined) return { name: chain, rules: rulesOf(chain) };
        const type = name === "nat" ? "nat" : "filter";
        return { name: chain, type, hook, priority: 0, rules: rulesOf(chain) };
      }),
      ...more,
    ],
  };
}

/** A table of nftables mode with `count` Services: a chain for each, and a map that leads to them. */
function ownTable(family: "ip" | "ip6", count: number): Table {
  const services = Array.from({ length: count }, (_, at) => `service-${at}`);
  return {
    ...{ family, name: "kube-proxy", comment: "rules for kube-proxy" },
    sets: [
      {
        ...{ kind: "tuples", name: "service-ips", comment: "", fields: ["inet_service"], data: "verdict" },
        elements: services.map((chain, at) => ({ values: [at], data: { jump: chain } })),
      },
    ],
    chains: [
      ...services.map((name): Chain => ({ name, rules: [{ statements: [accept], comment: name }] })),
      { name: "services", rules: [] },
      ...(["prerouting", "output"] as const).map(
        (hook): Chain => ({
          ...{ name: `nat-${hook}`, type: "nat", hook, priority: -100 },
          rules: [{ statements: [jump("services")], comment: "" }],
        }),
      ),
    ],
  };
}

const STRANGER: Table = {
  ...{ family: "inet", name: "stranger", comment: "", sets: [] },
  chains: [{ name: "KUBE-SERVICES", rules: [{ statements: [accept], comment: "kept" }] }],
};

function bench(...tables: readonly Table[]) {
  const nftables = new FakeNftables();
  for (const table of tables) nftables.do(...replaceTable(table));
  const clock = new ManualClock();
  const netlink = new EventedNetlink(new FakeNftablesSocket(nftables, 7), "fake", clock);
  const files = new FakeFiles();
  const parts: RemovalParts = {
    ...{ nftables: netlink, files, execute: async () => undefined, clock },
  };
  return { nftables, files, parts, clock };
}

async function removeLeftovers(parts: RemovalParts): Promise<Removed> {
  const removal = new LeftoverRemoval(parts);
  for (;;) {
    const removed = await removal.goOn();
    if (removed !== undefined) return removed;
  }
}

test("without leftovers, sends a few queries and changes nothing", async () => {
  const { nftables, parts } = bench(STRANGER, {
    ...{ family: "ip", name: "nat", comment: "", sets: [] },
    chains: [{ name: "POSTROUTING", type: "nat", hook: "postrouting", priority: 100, rules: [] }],
  });
  const before = nftables.list();
  expect(await removeLeftovers(parts)).toEqual({ found: [], kept: [], transactions: 0 });
  expect(nftables.list()).toEqual(before);
});

test("removes tables of nftables mode entirely", async () => {
  const { nftables, parts } = bench(STRANGER, ownTable("ip", 3), ownTable("ip6", 0));
  const { found } = await removeLeftovers(parts);
  expect(found).toEqual(["table ip kube-proxy (6 chains)", "table ip6 kube-proxy (3 chains)"]);
  expect(nftables.list()).toEqual(bench(STRANGER).nftables.list());
});

test.each(["ip", "ip6"] as const)(
  "removes chains of iptables mode from %s, and the rules that jump to them",
  async (family) => {
    const tables = (["filter", "nat", "mangle"] as const).map((name) => recorded(family, name));
    const { nftables, parts } = bench(STRANGER, ...tables);
    const { found, kept } = await removeLeftovers(parts);
    expect(found).toEqual([
      `6 chains KUBE-* of iptables in table ${family} filter`,
      expect.stringMatching(new RegExp(`^\\d\\d chains KUBE-\\* of iptables in table ${family} nat$`)),
      `1 chains KUBE-* of iptables in table ${family} mangle`,
    ]);
    expect(kept).toEqual([]);
    const left = nftables.list().filter((line) => line.includes("KUBE-"));
    expect(left.filter((line) => !line.includes("KUBE-FIREWALL") && !line.includes("stranger"))).toEqual([]);
    expect(left.filter((line) => line.includes("KUBE-FIREWALL"))).not.toEqual([]);
    expect(await removeLeftovers(parts)).toEqual({ found: [], kept: [], transactions: 0 });
  },
);

test("keeps a chain to which another program's rules jump, and the masquerading for it", async () => {
  const portmap: Chain = { name: "CNI-DN-1", rules: [{ statements: [jump("KUBE-MARK-MASQ")], comment: "dnat" }] };
  const { nftables, parts } = bench(recorded("ip", "nat", [portmap]));
  const { kept } = await removeLeftovers(parts);
  expect(kept).toEqual(["ip nat KUBE-MARK-MASQ", "ip nat KUBE-POSTROUTING"]);
  const left = nftables.list().join("\n");
  for (const chain of ["KUBE-MARK-MASQ", "KUBE-POSTROUTING", "CNI-DN-1"]) expect(left).toContain(chain);
  expect(left).not.toMatch(/KUBE-(?:SERVICES|SEP|SVC|PROXY-CANARY)/);
});

test("splits the removal of a large table, and removes the rules that jump to it first", async () => {
  const { nftables, parts } = bench(ownTable("ip", 1200));
  const sizes: number[] = [];
  let afterFirst: string[] = [];
  nftables.beforeAnswer = (messages) => {
    if (nftables.transactions === 1) afterFirst = nftables.list();
    sizes.push(messages.length - 2);
  };
  await removeLeftovers(parts);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(MOST_REMOVED);
  expect(afterFirst.join("\n")).toContain("service-1199");
  expect(afterFirst.join("\n")).not.toContain("nat-prerouting");
  expect(nftables.list()).toEqual([]);
});

test("a removal of many transactions runs in bursts", async () => {
  const { nftables, parts, clock } = bench(ownTable("ip", 300));
  nftables.beforeAnswer = (messages) => {
    // Reading takes long, and so does each transaction.
    clock.advance(messages.length > 2 ? 200 : 100);
  };
  const removal = new LeftoverRemoval(parts);
  const progress: number[] = [];
  const rests: number[] = [];
  while ((await removal.goOn()) === undefined) {
    progress.push(removal.progress.done);
    rests.push(removal.restMs);
  }
  expect(progress[0]).toBe(3);
  expect(progress.length).toBeGreaterThan(1);
  // Twice the time of reading; less as fewer chains are left, and never zero.
  expect(rests[0]).toBeGreaterThan(200);
  expect(rests).toEqual([...rests].sort((one, other) => other - one));
  expect(removal.restMs).toBe(100);
  expect(removal.progress.done).toBe(removal.progress.of);
  expect(nftables.list()).toEqual([]);
});

test("chains that an old kernel still counts as used are removed with their table", async () => {
  const { nftables, parts } = bench(ownTable("ip", 3));
  const EBUSY = 16;
  let refusals = 0;
  nftables.refuse = ({ type }) => {
    if (type !== NFT_MSG_DELCHAIN.type || nftables.transactions === 1) return 0;
    refusals += 1;
    return EBUSY;
  };
  await removeLeftovers(parts);
  expect(refusals).toBeGreaterThan(0);
  expect(nftables.list()).toEqual([]);
});

test("finishes an interrupted removal later", async () => {
  const { nftables, parts } = bench(recorded("ip", "nat"), recorded("ip", "filter"));
  const ENOMEM = 12;
  nftables.refuse = ({ type }) => (type === NFT_MSG_DELCHAIN.type ? ENOMEM : 0);
  await expect(removeLeftovers(parts)).rejects.toThrow();
  nftables.refuse = () => 0;
  expect((await removeLeftovers(parts)).found).not.toEqual([]);
  const left = nftables.list().flatMap((line) => /KUBE-[A-Z0-9-]+/.exec(line)?.[0] ?? []);
  expect(left.filter((chain) => isProxyChain("nat", chain) || isProxyChain("filter", chain))).toEqual([]);
});

/** iptables-legacy has a table nat in use, and prints `shown` for it. */
function withLegacy(shown: string | undefined, restored: string | undefined) {
  const { files, parts } = bench();
  files.makeDirectory("/proc/net");
  files.writeFile("/proc/net/ip_tables_names", new TextEncoder().encode("nat\n"));
  const calls: string[] = [];
  const execute: RemovalParts["execute"] = async (program, args, execution) => {
    calls.push([program, ...args, ...(execution?.input === undefined ? [] : [execution.input])].join(" "));
    return program.endsWith("-restore") ? restored : shown;
  };
  return { calls, remove: () => removeLeftovers({ ...parts, execute }) };
}

test("removes everything from iptables-legacy's tables at once", async () => {
  const { calls, remove } = withLegacy("-P OUTPUT ACCEPT\n-N KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n", "");
  expect(await remove()).toMatchObject({ found: ["1 chains KUBE-* in table nat of iptables-legacy"] });
  expect(calls).toEqual([
    "iptables-legacy -w 5 -t nat -S",
    "iptables-legacy-restore --noflush -w 5 *nat\n-D OUTPUT -j KUBE-SERVICES\n-F KUBE-SERVICES\n-X KUBE-SERVICES\nCOMMIT\n",
  ]);
});

test.each([
  [undefined, undefined, /iptables-legacy is not available .* kube-proxy --cleanup/],
  [
    "-P OUTPUT ACCEPT\n-N KUBE-SERVICES\n",
    undefined,
    /1 chains of .* iptables-legacy-restore is not available here; .* --cleanup/,
  ],
])("without iptables-legacy's programs, the error names the command to run", async (shown, restored, message) => {
  await expect(withLegacy(shown, restored).remove()).rejects.toThrow(message);
});

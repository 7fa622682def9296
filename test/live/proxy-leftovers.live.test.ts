/**
 * Removes the recorded rules of kube-proxy 1.36, and nothing else, from a real kernel: afterwards the ruleset is as
 * before kube-proxy. Also with hundreds of Services, and with removals that are killed midway.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { Inside } from "./harness/inside.ts";
import { makeNamespace } from "./harness/namespace.ts";

const CHILD = fileURLToPath(new URL("./proxy-leftovers-child.ts", import.meta.url));
const SERVICES = 400;

/** Other programs' rules, in chains with kube-proxy's names or in the same tables. */
const STRANGERS = `
table inet stranger {
  chain KUBE-SERVICES { accept; }
  chain c { type filter hook forward priority 5; jump KUBE-SERVICES; }
}
table ip kube-proxy-like {
  map m { type ipv4_addr : verdict; elements = { 192.0.2.1 : accept }; }
}
`;

const read = (name: string) => readFileSync(`test/vectors/kube-proxy/${name}`, "utf8");
/** Without the counting object, which only kube-proxy makes. */
const savedIptables = () =>
  read("iptables-mode-n1.txt")
    .split("\n")
    .filter((line) => !line.includes("-m nfacct "))
    .join("\n");

/** The same tables without kube-proxy. */
const emptyIptables = () =>
  savedIptables()
    .split("\n")
    .filter((line) => !line.includes("KUBE-"))
    .join("\n");

let cleanup: Cleanup;
let inside: Inside;

beforeEach(async () => {
  cleanup = new Cleanup();
  inside = await Inside.enter(await makeNamespace("proxy-leftovers", cleanup), cleanup);
  await feed("nft", ["-f", "-"], STRANGERS);
});
afterEach(() => cleanup.run());

async function feed(file: string, args: readonly string[], input: string): Promise<void> {
  const { status, stderr } = await inside.run(file, args, input);
  if (status !== 0) throw new Error(`${file}: ${stderr}`);
}
const ruleset = () => inside.succeed("nft", ["-s", "list", "ruleset"]);
const remove = async () => JSON.parse(await inside.succeed(process.execPath, [CHILD]));

/** A table as in nftables mode, with that many Services. */
function largeTable(family: "ip" | "ip6"): string {
  const address = (at: number) => (family === "ip" ? `10.96.${at >> 8}.${at & 255}` : `fd00::${at.toString(16)}`);
  const all = Array.from({ length: SERVICES }, (_, at) => at);
  const slots = [0, 1, 2, 3, 4].map((slot) => `${slot} : ${address(9000 + slot)} . 8080`).join(", ");
  const chain = (at: number) => `service-W${at}-default/s${at}/tcp/http`;
  return `table ${family} kube-proxy {
    map service-ips { type ipv${family === "ip" ? 4 : 6}_addr . inet_proto . inet_service : verdict; }
    ${all.map((at) => `chain ${chain(at)} { meta l4proto tcp dnat ${family} to numgen random mod 5 map { ${slots} }; }`).join("\n    ")}
    chain services { ${family} daddr . meta l4proto . th dport vmap @service-ips; }
    chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
    chain nat-output { type nat hook output priority -100; jump services; }
  }
  ${all.map((at) => `add element ${family} kube-proxy service-ips { ${address(at)} . tcp . 80 : goto ${chain(at)} }`).join("\n")}
  `;
}

/** The table nat as in iptables mode, with that many Services. */
function largeChains(): string {
  const all = Array.from({ length: SERVICES }, (_, at) => at);
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const hash = (at: number) => `${letters[at >> 5]}${letters[at & 31]}`.padEnd(16, "A");
  return [
    ...["*nat", ":KUBE-SERVICES -", ":KUBE-MARK-MASQ -", ":KUBE-PROXY-CANARY -"],
    ...all.flatMap((at) => [`:KUBE-SVC-${hash(at)} -`, `:KUBE-SEP-${hash(at)} -`]),
    "-A PREROUTING -j KUBE-SERVICES",
    "-A OUTPUT -j KUBE-SERVICES",
    ...all.flatMap((at) => [
      `-A KUBE-SERVICES -d 10.96.${at >> 8}.${at & 255}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-${hash(at)}`,
      `-A KUBE-SVC-${hash(at)} -m comment --comment "default/s${at}:http" -j KUBE-SEP-${hash(at)}`,
      `-A KUBE-SEP-${hash(at)} -s 10.244.1.9/32 -j KUBE-MARK-MASQ`,
      `-A KUBE-SEP-${hash(at)} -p tcp -m tcp -j DNAT --to-destination 10.244.1.9:8080`,
      // Each Service has a second rule in one chain: more rules than one transaction removes.
      `-A KUBE-SERVICES -d 10.97.${at >> 8}.${at & 255}/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-${hash(at)}`,
    ]),
    "COMMIT\n",
  ].join("\n");
}

describe("nftables mode", () => {
  test.each([
    ["recorded", () => read("n1-ip.nft") + read("n1-ip6.nft"), 4],
    ["recorded on a node without endpoints", () => read("n3-ip.nft"), 4],
    ["of hundreds of Services", () => largeTable("ip") + largeTable("ip6"), 8],
  ])("removes the tables, %s", async (_name, rules, least) => {
    const before = await ruleset();
    await feed("nft", ["-f", "-"], rules());
    const { found, transactions } = await remove();
    expect(found.length).toBeGreaterThan(0);
    expect(transactions).toBeGreaterThanOrEqual(least);
    expect(await ruleset()).toBe(before);
    expect(await remove()).toEqual({ found: [], kept: [], transactions: 0 });
  });

  test.each([1, 2, 4])("the next removal finishes one that was killed after %d transactions", async (count) => {
    const before = await ruleset();
    await feed("nft", ["-f", "-"], largeTable("ip"));
    expect((await inside.run(process.execPath, [CHILD, String(count)])).status).not.toBe(0);
    expect(await ruleset()).not.toBe(before);
    await remove();
    expect(await ruleset()).toBe(before);
  });
});

describe.each(["nft", "legacy"])("iptables mode, iptables-%s", (kind) => {
  const program = `iptables-${kind}`;
  const saved = async () =>
    (await inside.succeed(`${program}-save`)).split("\n").filter((line) => !line.startsWith("#") && line !== "");
  const withoutCounts = (lines: readonly string[]) => lines.map((line) => line.replace(/\[\d+:\d+\]/, ""));

  beforeEach(async () => {
    await feed(`${program}-restore`, [], emptyIptables());
    await inside.succeed(program, ["-t", "nat", "-A", "POSTROUTING", "-s", "172.17.0.0/16", "-j", "MASQUERADE"]);
    await inside.succeed(program, ["-A", "FORWARD", "-s", "172.17.0.0/16", "-j", "ACCEPT"]);
  });

  test("removes the chains and the rules that jump to them; keeps kubelet's chain and other programs' rules", async () => {
    const before = withoutCounts(await saved());
    await feed(`${program}-restore`, ["--noflush"], savedIptables());
    const { found, kept } = await remove();
    expect(found).toHaveLength(3);
    expect(kept).toEqual([]);
    const after = withoutCounts(await saved());
    expect(after.filter((line) => !line.includes("KUBE-FIREWALL"))).toEqual(before);
    expect(after.filter((line) => line.includes("KUBE-FIREWALL")).length).toBeGreaterThanOrEqual(4);
    expect((await remove()).found).toEqual([]);
  });

  test("removes the chains of hundreds of Services", async () => {
    const before = withoutCounts(await saved());
    await feed(`${program}-restore`, ["--noflush"], largeChains());
    const { found } = await remove();
    expect(found).toEqual([expect.stringMatching(/^803 chains KUBE-\*/)]);
    expect(withoutCounts(await saved())).toEqual(before);
  });

  test("keeps a chain that another program's rules use, and the chains that masquerade for it", async () => {
    await feed(`${program}-restore`, ["--noflush"], savedIptables());
    const portmap = "*nat\n:CNI-DN-1 -\n-A CNI-DN-1 -s 10.244.1.9/32 -j KUBE-MARK-MASQ\nCOMMIT\n";
    await feed(`${program}-restore`, ["--noflush"], portmap);
    const { kept } = await remove();
    expect(kept).toEqual([expect.stringMatching(/KUBE-MARK-MASQ$/), expect.stringMatching(/KUBE-POSTROUTING$/)]);
    const after = (await saved()).join("\n");
    expect(after).toContain("-A CNI-DN-1 -s 10.244.1.9/32 -j KUBE-MARK-MASQ");
    expect(after).toMatch(/-A POSTROUTING .*-j KUBE-POSTROUTING/);
    expect(after).toMatch(/-A KUBE-POSTROUTING .*-j MASQUERADE/);
    expect(after).not.toMatch(/KUBE-(?:SERVICES|SVC|SEP|NODEPORTS)/);
  });
});

test("iptables mode, iptables-nft: the next removal finishes one that was killed", async () => {
  const saved = async () => (await inside.succeed("iptables-nft-save")).replace(/^#.*$|\[\d+:\d+\]/gm, "");
  await feed("iptables-nft-restore", [], emptyIptables());
  const before = await saved();
  for (const count of [1, 2, 3, 6]) {
    await feed("iptables-nft-restore", ["--noflush"], largeChains());
    expect((await inside.run(process.execPath, [CHILD, String(count)])).status).not.toBe(0);
    await remove();
    expect(await saved()).toBe(before);
  }
});

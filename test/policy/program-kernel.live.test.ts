/** The nftables program in a kernel: what nft lists, and cases that random first packets do not cover. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { parseAddress } from "../../pkg/ip/address.ts";
import { ruleText } from "../../pkg/nft/table.ts";
import { policyTable } from "../../pkg/policy/nftables/layout.ts";
import type { Decision, Direction, Identity, PolicyChange, Profile, Step, Subject } from "../../pkg/policy/state.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";
import { Cleanup } from "../live/harness/cleanup.ts";
import { run } from "../live/harness/command.ts";
import { ProgramBed, SETTINGS } from "./program-bed.ts";
import { RandomTables, SMALL_WORLD, seeded } from "./random-tables.ts";

const cleanup = new Cleanup();
let bed: ProgramBed;
beforeAll(async () => {
  bed = await ProgramBed.make(cleanup);
  await bed.hosts.routed.listen(8080);
  await bed.hosts["bridged-1"].listen(8080);
  await bed.hosts.node.listen(8080);
  await bed.hosts.routed.echo(8081);
});
afterAll(() => cleanup.run());
beforeEach(async () => {
  await bed.compare(new PolicyTables());
});

const POD = {
  "bridged-1": { 4: "10.244.1.2", 6: "fd00:1::2" },
  "bridged-2": { 4: "10.244.1.3", 6: "fd00:1::3" },
  routed: { 4: "10.244.3.2", 6: "fd00:3::2" },
} as const;
type Pod = keyof typeof POD;
const GATEWAY = { 4: "10.244.1.1", 6: "fd00:1::1" } as const;
const VIP = { 4: "10.96.0.1", 6: "fd00:96::1" } as const;

const decided = (otherwise: "allow" | "deny", ...steps: Step[]): Decision => [
  { name: "NetworkPolicy", steps, otherwise },
];
const profile = (direction: Direction, others: Decision, more: Partial<Profile> = {}): Profile => ({
  ...{ direction, isAudited: false, policies: [`default/${direction}`], ports: [], others },
  ...more,
});
const INGRESS = 100;
const EGRESS = 101;
/** Profiles that deny everything. */
const DENYING: readonly PolicyChange[] = [
  { kind: "profile", number: INGRESS, profile: profile("ingress", decided("deny")) },
  { kind: "profile", number: EGRESS, profile: profile("egress", decided("deny")) },
];
/** By default, both profiles. */
const isolate = (pod: Pod, subject: Subject = { ingress: INGRESS, egress: EGRESS }): PolicyChange[] =>
  ([4, 6] as const).map((family) => ({ kind: "subject", address: parseAddress(POD[pod][family]), subject }));
const peers = (pod: Pod, identity: Identity): PolicyChange[] =>
  ([4, 6] as const).map((family) => ({ kind: "peer", address: parseAddress(POD[pod][family]), identity }));
const tablesOf = (...changes: PolicyChange[]) => {
  const tables = new PolicyTables();
  for (const change of changes) tables.apply(change);
  return tables;
};

const reaches = (from: Pod | "node", to: string, port = 8080) =>
  bed.hosts[from].seenBy(to, port, { timeoutMs: 700 }).then(
    () => true,
    () => false,
  );
const deniedBy = async (number: number) => (await bed.counts()).find((count) => count.number === number)?.denied;

/** nft prints counters with their values, and omits a match on the family that the next match implies. */
const plain = (text: string) =>
  text
    .trim()
    .replaceAll(/counter packets \d+ bytes \d+/g, "counter")
    .replaceAll(/meta nfproto ipv[46] /g, "");

test.each([1, 2, 3])(
  "nft lists each rule as weft prints it, in both formats, and loads its own listing (seed %i)",
  async (seed) => {
    const state = new RandomTables(seeded(seed), SMALL_WORLD);
    state.changes(120);
    await bed.compare(state.tables);
    JSON.parse(await bed.nft("-j", "list", "table", "inet", "weft-policy"));
    const listed = await bed.nft("list", "table", "inet", "weft-policy");
    const lines = new Set(listed.split("\n").map(plain));
    const rules = policyTable(state.tables, SETTINGS).chains.flatMap((chain) => chain.rules.map(ruleText).map(plain));
    expect(rules.filter((text) => !lines.has(text))).toEqual([]);
    const loaded = await run("unshare", ["-n", "sh", "-c", "nft -f - && nft list ruleset"], { input: listed });
    expect(loaded).toMatchObject({ status: 0, stderr: "" });
    expect(loaded.stdout).toBe(listed);
  },
);

test("an established connection stays when both pods become isolated, and a new one is denied", async () => {
  const talk = bed.hosts["bridged-1"].converse(POD.routed[4], 8081, 1500, 20);
  await new Promise((resolve) => setTimeout(resolve, 300));
  await bed.change([...DENYING, ...isolate("routed"), ...isolate("bridged-1")]);
  expect(await reaches("bridged-1", POD.routed[4])).toBe(false);
  const { sent, echoed } = await talk;
  expect(sent).toBeGreaterThan(30);
  expect(echoed).toBe(sent);
});

test.each([4, 6] as const)(
  "the node reaches an isolated pod, and the pod does not reach the node (IPv%i)",
  async (family) => {
    await bed.change([...DENYING, ...isolate("routed"), ...isolate("bridged-1")]);
    expect(await reaches("node", POD.routed[family])).toBe(true);
    expect(await reaches("node", POD["bridged-1"][family])).toBe(true);
    expect(await reaches("bridged-1", GATEWAY[family])).toBe(false);
    await bed.change(isolate("bridged-1", { ingress: INGRESS, egress: undefined }));
    expect(await reaches("bridged-1", GATEWAY[family])).toBe(true);
  },
);

test.each([4, 6] as const)(
  "an isolated pod reaches itself through a Service, and others do not reach it (IPv%i)",
  async (family) => {
    const [ip, to] = [family === 4 ? "ip" : "ip6", (pod: Pod) => (family === 4 ? POD[pod][4] : `[${POD[pod][6]}]`)];
    await bed.hosts.node.succeed("ip", ["link", "set", "to-bridged-1", "type", "bridge_slave", "hairpin", "on"]);
    const nat = `table ${ip} nat {
    chain pre { type nat hook prerouting priority -100;
      ${ip} daddr ${VIP[family]} tcp dport 80 dnat to ${to("routed")}:8080
      ${ip} daddr ${VIP[family]} tcp dport 81 dnat to ${to("bridged-1")}:8080
    }
    chain post { type nat hook postrouting priority 100;
      ct status dnat ${ip} saddr . ${ip} daddr { ${POD.routed[family]} . ${POD.routed[family]}, ${POD["bridged-1"][family]} . ${POD["bridged-1"][family]} } masquerade
    }
  }`;
    expect(await bed.hosts.node.run("nft", ["-f", "-"], nat)).toMatchObject({ status: 0 });
    await bed.change([...DENYING, ...isolate("routed"), ...isolate("bridged-1")]);
    expect(await reaches("routed", VIP[family], 80)).toBe(true);
    expect(await reaches("bridged-1", VIP[family], 81)).toBe(true);
    expect([await deniedBy(INGRESS), await deniedBy(EGRESS)]).toEqual([0, 0]);
    expect(await reaches("bridged-2", VIP[family], 80)).toBe(false);
    expect(await reaches("bridged-2", VIP[family], 81)).toBe(false);
    await bed.nft("delete", "table", ip, "nat");
  },
);

test("neighbour discovery passes between isolated pods", async () => {
  await bed.change([...DENYING, ...isolate("bridged-1"), ...isolate("bridged-2")]);
  await bed.hosts["bridged-1"].succeed("ip", ["-6", "neigh", "flush", "dev", "eth0"]);
  expect(await bed.hosts["bridged-1"].pings(POD["bridged-2"][6], 1)).toBe(false);
  const neighbours = await bed.hosts["bridged-1"].json<{ dst: string; lladdr?: string }[]>("ip", ["-j", "-6", "neigh"]);
  expect(neighbours.find(({ dst }) => dst === POD["bridged-2"][6])?.lladdr).toMatch(/:/);
});

test("audit mode counts denied packets and drops none, for one profile or for all", async () => {
  const audited = DENYING.map((change) =>
    change.kind === "profile" && change.profile !== undefined
      ? { ...change, number: change.number + 10, profile: { ...change.profile, isAudited: true } }
      : change,
  );
  await bed.change([...audited, ...isolate("routed", { ingress: INGRESS + 10, egress: EGRESS + 10 })]);
  expect(await reaches("bridged-1", POD.routed[4])).toBe(true);
  expect(await reaches("routed", POD["bridged-1"][6])).toBe(true);
  expect([await deniedBy(INGRESS + 10), await deniedBy(EGRESS + 10)]).toEqual([1, 1]);
  const tables = tablesOf(...DENYING, ...isolate("routed"));
  await bed.compare(tables, { ...SETTINGS, isAudit: true });
  expect(await reaches("bridged-1", POD.routed[6])).toBe(true);
  expect(await deniedBy(INGRESS)).toBe(1);
  await bed.compare(tables, SETTINGS);
  expect(await reaches("bridged-1", POD.routed[6])).toBe(false);
});

test("the counters of steps count first packets only, by policy and tier", async () => {
  const step = (pods: number, verdict: Step["verdict"], policy: string): Step => ({
    ...{ peers: { pods, blocks: undefined }, verdict, policies: [policy] },
  });
  const others: Decision = [
    { name: "Admin", steps: [step(2, "deny", "admin-deny"), step(1, "pass", "admin-pass")], otherwise: "pass" },
    { name: "NetworkPolicy", steps: [step(1, "allow", "default/web")], otherwise: "deny" },
  ];
  await bed.change([
    { kind: "pods", number: 1, identities: new Set([11]) },
    { kind: "pods", number: 2, identities: new Set([22]) },
    ...peers("bridged-1", 11),
    ...peers("bridged-2", 22),
    { kind: "profile", number: INGRESS, profile: profile("ingress", others) },
    ...isolate("routed", { ingress: INGRESS, egress: undefined }),
  ]);
  for (const family of [4, 6] as const) {
    expect(await reaches("bridged-1", POD.routed[family])).toBe(true);
    expect(await reaches("bridged-2", POD.routed[family])).toBe(false);
  }
  const [count] = await bed.counts();
  const packets = Object.fromEntries((count?.steps ?? []).map((each) => [each.policies.join(), each.packets]));
  expect(packets).toMatchObject({ "admin-pass": 2, "default/web": 2 });
  // A denied SYN is sent again.
  expect(packets["admin-deny"]).toBeGreaterThanOrEqual(2);
  expect(count?.denied).toBe(packets["admin-deny"]);
});

test("a restart under traffic, and a flush of the ruleset, end with the same table", async () => {
  const tables = tablesOf(...DENYING, ...isolate("routed"));
  await bed.compare(tables);
  expect(await bed.compare(tables)).toBe(0);
  const listed = await bed.nft("list", "table", "inet", "weft-policy");
  await bed.nft("delete", "table", "inet", "weft-policy");
  expect(await reaches("bridged-1", POD.routed[4])).toBe(true);
  await bed.compare(tables);
  expect(await reaches("bridged-1", POD.routed[4])).toBe(false);
  await bed.nft("flush", "chain", "inet", "weft-policy", `deny-${INGRESS}`);
  expect(await bed.compare(tables)).toBe(1);
  expect(await bed.compare(tables)).toBe(0);
  expect(plain(await bed.nft("list", "table", "inet", "weft-policy"))).toBe(plain(listed));
});

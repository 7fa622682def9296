/**
 * Tests the controller of pods' rules without a kernel. Longer than 400 lines: half of it is the node that all cases
 * share.
 */
import { expect, test } from "vitest";
import { type CachedAttachment, parseCachedAttachment } from "../../../pkg/attachment/cached.ts";
import { wantedRules } from "../../../pkg/attachment/wanted-rules.ts";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { attachmentObject } from "../../../pkg/kernel/owner.ts";
import { NetlinkError } from "../../../pkg/netlink/errors.ts";
import { type Encodable, query, type Request } from "../../../pkg/netlink/message.ts";
import { NFT_MSG_NEWCHAIN, NFT_MSG_NEWTABLE, VERDICT } from "../../../pkg/netlink/nftables.ts";
import { readNftRuleset } from "../../../pkg/nft/ruleset.ts";
import { dumpOf } from "../../../pkg/nft/table-dump.ts";
import { ContentionError } from "../../../pkg/reconcile/repair-gate.ts";
import { firewallTable, readFirewall } from "../../../pkg/tables/firewall.ts";
import { macSpoofTable } from "../../../pkg/tables/mac-spoof.ts";
import { podMasquerade } from "../../../pkg/tables/pod-masquerade.ts";
import {
  type OwnedPart,
  POD_RULE_PARTS,
  type PodRulePart,
  type PodRules,
  type SeenPodRules,
} from "../../../pkg/tables/pod-rules.ts";
import { portMapTable } from "../../../pkg/tables/port-map-table.ts";
import { SENDERS_FAMILIES, sendersTable } from "../../../pkg/tables/senders-table.ts";
import { type PodRulesKernel, RestoredPodRules } from "./pod-rules.ts";

const [EPERM, ERESTART] = [1, 85];
const REST_MS = 7000;
const TABLE: Readonly<Record<PodRulePart, string>> = {
  ...{ masquerade: "inet weft_masquerade", portmap: "inet weft_portmap" },
  ...{ macspoofchk: "bridge weft_macspoof", firewall: "inet weft_firewall", senders: "bridge weft-senders" },
};
const CONFIG = Buffer.from(
  JSON.stringify({
    name: "net",
    plugins: [
      { type: "bridge", ipMasq: true, macspoofchk: true, guardSenders: true, ipam: { type: "host-local" } },
      { type: "portmap", capabilities: { portMappings: true } },
      { type: "firewall" },
    ],
  }),
).toString("base64");

const markOf = (id: string) => `cni:net/${id}/eth0`;

function attachment(id: string, number: number, hostPort = 8000 + number): CachedAttachment {
  const content = {
    ...{ containerId: id, ifName: "eth0", networkName: "net", config: CONFIG },
    capabilityArgs: { portMappings: [{ hostPort, containerPort: 80, protocol: "tcp" }] },
    result: {
      cniVersion: "1.0.0",
      interfaces: [{ name: "eth0", mac: `02:00:00:00:00:0${number}`, sandbox: "/run/netns/x" }],
      ips: [{ address: `10.22.0.${number}/24`, interface: 0 }],
    },
  };
  return parseCachedAttachment(new TextEncoder().encode(JSON.stringify(content))) as CachedAttachment;
}

/** The attachments of which each table has all rules. */
class FakeKernel implements PodRulesKernel {
  readonly pods = new Map<string, PodRules>();
  readonly links = new Map<string, string>();
  readonly held = new Map<PodRulePart, Set<string>>();
  readonly #handles = new Map<PodRulePart, bigint>();
  readonly commits: string[] = [];
  looks = 0;
  /** Called before each commit; may throw. */
  beforeCommit: (requests: readonly Request[]) => void = () => undefined;
  /** The content of other programs' tables. */
  forward: readonly Encodable[] = [];
  #next = 1n;

  /** The ADD has ended. */
  attach(id: string, number: number): CachedAttachment {
    const cached = attachment(id, number);
    this.links.set(markOf(id), `veth${number}`);
    this.pods.set(markOf(id), wantedRules(cached, `veth${number}`).rules);
    for (const part of POD_RULE_PARTS) this.#add(part, markOf(id));
    return cached;
  }

  #add(part: PodRulePart, mark: string): void {
    if (!this.#handles.has(part)) this.#handles.set(part, this.#next++);
    this.held.set(part, (this.held.get(part) ?? new Set()).add(mark));
  }

  flush(): void {
    this.held.clear();
    this.#handles.clear();
  }

  has(id: string): PodRulePart[] {
    return POD_RULE_PARTS.filter((part) => this.held.get(part)?.has(markOf(id)) === true);
  }

  tables = async () => new Map(this.#handles);

  async look(): Promise<SeenPodRules> {
    this.looks += 1;
    const of = (part: PodRulePart) => [...(this.held.get(part) ?? [])].flatMap((mark) => this.pods.get(mark) ?? []);
    const ifThere = <T>(part: PodRulePart, dump: () => readonly T[]) => (this.#handles.has(part) ? dump() : []);
    return {
      ...{ generation: 1, handles: new Map(this.#handles), isolated: [] },
      masquerades: ifThere("masquerade", () =>
        dumpOf(podMasquerade(of("masquerade").flatMap(({ masquerades }) => masquerades))),
      ),
      ports: ifThere("portmap", () => {
        const ports = of("portmap").map((rules) => rules.ports);
        return dumpOf(
          portMapTable({
            mappings: ports.flatMap(({ mappings }) => mappings),
            masquerades: ports.flatMap(({ masquerades }) => masquerades),
          }),
        );
      }),
      guards: ifThere("macspoofchk", () => dumpOf(macSpoofTable(of("macspoofchk").flatMap(({ guards }) => guards)))),
      senders: ifThere("senders", () => {
        const senders = of("senders").flatMap((rules) => rules.senders);
        return SENDERS_FAMILIES.flatMap((family) => dumpOf(sendersTable(family, senders)));
      }),
      firewall: readFirewall(
        ifThere("firewall", () =>
          dumpOf(firewallTable({ pods: of("firewall").flatMap(({ firewall }) => firewall.pods), policies: new Map() })),
        ),
      ),
    };
  }

  async hostEnds() {
    return new Map(this.links);
  }

  async lookAtForwarding() {
    const messages = this.forward.map(({ type, body }) => ({ type, flags: 0, sequence: 0, portId: 0, payload: body }));
    return { foreign: readNftRuleset(messages), records: [] };
  }

  async commit(requests: readonly Request[]) {
    if (requests.length === 0) return [];
    this.beforeCommit(requests);
    for (const { text } of requests) {
      this.commits.push(text);
      for (const part of POD_RULE_PARTS) {
        if (!text.includes(`element ${TABLE[part]} `)) continue;
        if (text.startsWith("nft delete")) {
          for (const mark of this.held.get(part) ?? []) if (!this.links.has(mark)) this.held.get(part)?.delete(mark);
        } else for (const mark of this.pods.keys()) if (text.includes(`"${mark}"`)) this.#add(part, mark);
      }
    }
    return [];
  }
}

function bench() {
  const clock = new ManualClock();
  const kernel = new FakeKernel();
  const cached = new Map<string, CachedAttachment>();
  const asked: string[] = [];
  const restored: OwnedPart[][] = [];
  const missing: string[][] = [];
  const orphans: string[][] = [];
  /** Attachments for which the runtime has a file without a configuration. */
  const files = new Set<string>();
  let reads = 0;
  let isAllowed = true;
  const rules = new RestoredPodRules({
    ...{ clock, kernel },
    cached: {
      read() {
        reads += 1;
        return new Map(cached);
      },
      hasFileOf: (mark) => files.has(mark),
    },
    gate: {
      mayPutBack: (_object, text) => asked.push(typeof text === "string" ? text : text()) > 0 && isAllowed,
      refused: () => undefined,
      assertNothingRests() {
        if (!isAllowed)
          throw new ContentionError(
            [{ identity: attachmentObject("it"), text: "it" }],
            clock.nowMs() + REST_MS,
            clock.nowMs(),
          );
      },
    },
    usesLegacyIptables: () => true,
    onRestored: (parts) => void restored.push([...parts]),
    onOrphansRemoved: (owners) => void orphans.push([...owners]),
    onMissing: (reasons) => void missing.push([...reasons]),
  });
  return {
    ...{ clock, kernel, cached, asked, restored, missing, orphans, files, rules },
    get reads() {
      return reads;
    },
    forbid(isForbidden: boolean) {
      isAllowed = !isForbidden;
    },
    add(id: string, number: number) {
      cached.set(markOf(id), kernel.attach(id, number));
    },
    /** The comparison of each minute. */
    async later(ms = 61_000) {
      clock.advance(ms);
      await rules.pass();
    },
  };
}

test("while the tables exist, only they are checked until the minute is over", async () => {
  const { kernel, rules, later, add } = bench();
  add("a", 2);
  await rules.pass();
  expect(kernel.looks).toBe(1);
  for (let passes = 0; passes < 5; passes++) await rules.pass();
  expect(kernel.looks).toBe(1);
  await later();
  expect(kernel.looks).toBe(2);
  expect(kernel.commits).toEqual([]);
});

test("the runtime's results are read only for new attachments", async () => {
  const made = bench();
  made.add("a", 2);
  await made.rules.pass();
  await made.later();
  expect(made.reads).toBe(1);
  made.add("b", 3);
  await made.later();
  expect(made.reads).toBe(2);
});

test("after a flush all rules are restored at once, counted by attachment and reported", async () => {
  const { kernel, rules, add, restored, missing, asked } = bench();
  add("a", 2);
  add("b", 3);
  await rules.pass();
  kernel.flush();
  await rules.pass();
  expect([kernel.has("a"), kernel.has("b")]).toEqual([POD_RULE_PARTS, POD_RULE_PARTS]);
  expect(restored).toHaveLength(1);
  expect(restored[0]).toHaveLength(2 * POD_RULE_PARTS.length);
  expect(asked).toEqual([
    "rules of container a, interface eth0, network net",
    "rules of container b, interface eth0, network net",
  ]);
  expect(missing.at(-1)).toEqual([]);
  const sent = kernel.commits.length;
  await rules.pass();
  expect(kernel.commits).toHaveLength(sent);
});

test("a table that another ADD has re-created counts as a different one", async () => {
  const { kernel, rules, add } = bench();
  add("a", 2);
  await rules.pass();
  kernel.flush();
  add("b", 3);
  await rules.pass();
  expect(kernel.has("a")).toEqual(POD_RULE_PARTS);
});

test("rules missing in an existing table are restored after some time, unless their link is deleted", async () => {
  const { kernel, rules, add, later } = bench();
  for (const [at, id] of ["a", "b"].entries()) add(id, at + 2);
  await rules.pass();
  for (const id of ["a", "b"]) kernel.held.get("portmap")?.delete(markOf(id));
  await later();
  expect(kernel.commits).toEqual([]);
  // The remainder of the DEL.
  kernel.links.delete(markOf("b"));
  await later();
  expect(kernel.has("a")).toContain("portmap");
  expect(kernel.has("b")).not.toContain("portmap");
});

test("an attachment whose ADD is running has no result yet, and is ignored", async () => {
  const { kernel, rules, missing } = bench();
  kernel.attach("a", 2);
  kernel.flush();
  await rules.pass();
  expect(kernel.commits).toEqual([]);
  expect(missing).toEqual([[]]);
});

test("restored rules are removed if their link is deleted meanwhile or later", async () => {
  const { kernel, rules, add, clock } = bench();
  for (const [at, id] of ["a", "b", "c"].entries()) add(id, at + 2);
  await rules.pass();
  kernel.flush();
  let commits = 0;
  kernel.beforeCommit = () => {
    if (commits++ === 0) kernel.links.delete(markOf("a"));
  };
  await rules.pass();
  expect([kernel.has("a"), kernel.has("b")]).toEqual([[], POD_RULE_PARTS]);
  kernel.links.delete(markOf("b"));
  expect(rules.dueInMs).toBeLessThan(10_000);
  clock.advance(rules.dueInMs);
  await rules.pass();
  expect([kernel.has("b"), kernel.has("c")]).toEqual([[], POD_RULE_PARTS]);
});

test("if another program committed first, everything is read again", async () => {
  const { kernel, rules, add, clock } = bench();
  for (const [at, id] of ["a", "b"].entries()) add(id, at + 2);
  await rules.pass();
  kernel.flush();
  let commits = 0;
  kernel.beforeCommit = () => {
    if (commits++ > 0) return;
    // The DEL of b has ended.
    kernel.links.delete(markOf("b"));
    throw new NetlinkError({ text: "nft transaction" } as Request, ERESTART, undefined, "a test");
  };
  const pass = rules.pass();
  for (let turns = 0; turns < 50; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(100);
  }
  await pass;
  expect([kernel.has("a"), kernel.has("b")]).toEqual([POD_RULE_PARTS, []]);
});

test("a held-back repair is not done, and is retried", async () => {
  const made = bench();
  const { kernel, rules, add } = made;
  add("a", 2);
  await rules.pass();
  kernel.flush();
  made.forbid(true);
  await expect(rules.pass()).rejects.toThrow("keeps undoing");
  expect(kernel.commits).toEqual([]);
  // Other programs' commits cause no earlier attempt.
  expect(rules.delayMs).toBe(REST_MS);
  made.forbid(false);
  await rules.pass();
  expect(kernel.has("a")).toEqual(POD_RULE_PARTS);
});

test("an attachment without a result is reported while its link exists", async () => {
  const { kernel, rules, add, later, missing } = bench();
  add("a", 2);
  kernel.attach("b", 3);
  await rules.pass();
  kernel.flush();
  await rules.pass();
  expect(missing.at(-1)).toEqual([
    expect.stringMatching(
      /^container b, interface eth0, network net: another program removed its rules \(masquerade, portmap, macspoofchk, firewall, senders\), .*; restart the pod$/,
    ),
  ]);
  kernel.links.delete(markOf("b"));
  await later();
  expect(missing.at(-1)).toEqual([]);
});

test("a pod whose rules weftd never saw is reported once its DEL cannot be running any more", async () => {
  const { kernel, rules, add, later, missing } = bench();
  add("a", 2);
  kernel.attach("b", 3);
  kernel.flush();
  await rules.pass();
  expect(missing.at(-1)).toEqual([]);
  await later();
  expect(missing.at(-1)).toEqual([
    expect.stringMatching(
      /^container b, .*: its rules may have been removed with those of other pods, .*restart the pod$/,
    ),
  ]);
});

test("a port that another pod now has stays with that pod, and is reported until it is free", async () => {
  const { kernel, rules, add, cached, missing, later } = bench();
  add("a", 2);
  await rules.pass();
  kernel.flush();
  const heir = attachment("b", 2);
  cached.set(markOf("b"), heir);
  kernel.attach("b", 2);
  await rules.pass();
  expect(missing.at(-1)).toHaveLength(4);
  expect(missing.at(-1)?.join("\n")).toMatch(
    /container a, .*: its rules \(portmap\) were removed and cannot be restored: container b, .*8002\/tcp of any IPv4 address.*; restart the pod/,
  );
  await later(5000);
  expect(missing.at(-1)).toHaveLength(4);
  expect(kernel.has("a")).toEqual(["macspoofchk"]);
});

test("rules that a DEL removes from an existing table do not count as missing, with or without a result", async () => {
  const { kernel, rules, later, missing } = bench();
  kernel.attach("a", 2);
  kernel.attach("b", 3);
  await rules.pass();
  kernel.held.get("portmap")?.delete(markOf("a"));
  await later();
  expect(missing.at(-1)).toEqual([]);
});

test("another program's exclusive table does not affect weft's own tables", async () => {
  const { kernel, rules, add, missing } = bench();
  add("a", 2);
  await rules.pass();
  kernel.flush();
  kernel.forward = [
    query(NFT_MSG_NEWTABLE, "", { family: 2 }, { name: "filter" }),
    query(
      NFT_MSG_NEWCHAIN,
      "",
      { family: 2 },
      { table: "filter", name: "FORWARD", hook: { number: 2, priority: 0 }, policy: VERDICT.drop },
    ),
  ];
  kernel.beforeCommit = (requests) => {
    const foreign = requests.find(({ text }) => text.includes("ip filter"));
    if (foreign !== undefined) throw new NetlinkError(foreign, EPERM, undefined, "a test");
  };
  await rules.pass();
  expect(kernel.has("a")).toEqual(POD_RULE_PARTS);
  expect(missing.at(-1)).toEqual([expect.stringMatching(/container a, .* \(firewall\) .*EPERM/)]);
});

test("the pass after a failure always compares", async () => {
  const { kernel, rules, add } = bench();
  add("a", 2);
  await rules.pass();
  kernel.tables = () => Promise.reject(new Error("the socket is busy"));
  await expect(rules.pass()).rejects.toThrow("busy");
  await rules.pass();
  expect(kernel.looks).toBe(2);
});

test("the pass after a failure is delayed in proportion to the duration of the failed one", async () => {
  const { kernel, rules, clock } = bench();
  kernel.look = () => {
    clock.advance(50);
    return Promise.reject(new Error("the socket is busy"));
  };
  await expect(rules.pass()).rejects.toThrow("busy");
  expect(rules.delayMs).toBe(500);
});

test("rules of an unreadable configuration are not missing while they exist, and otherwise cannot be checked", async () => {
  const { kernel, rules, cached, missing, later } = bench();
  kernel.attach("a", 2);
  cached.set(markOf("a"), attachment("a", 2, 70_000));
  await rules.pass();
  expect(missing.at(-1)).toEqual([]);
  kernel.held.get("portmap")?.delete(markOf("a"));
  await later();
  expect(missing.at(-1)).toEqual([
    expect.stringMatching(
      /^container a, .*: its rules \(portmap\) cannot be checked, .*in the runtime's cache: .*70000/,
    ),
  ]);
});

test("rules that an earlier weftd restored for an ended attachment are removed after a minute", async () => {
  const { kernel, rules, add, later, orphans } = bench();
  add("a", 2);
  kernel.attach("gone", 3);
  kernel.links.delete(markOf("gone"));
  await rules.pass();
  await later(5000);
  expect([kernel.commits, orphans]).toEqual([[], []]);
  await later();
  expect([kernel.has("gone"), kernel.has("a")]).toEqual([[], POD_RULE_PARTS]);
  expect(orphans).toEqual([[markOf("gone")]]);
});

test("an attachment without a link on the host keeps its rules while the runtime has a file for it", async () => {
  const { kernel, rules, add, later, files } = bench();
  for (const [at, id] of ["a", "macvlan"].entries()) add(id, at + 2);
  kernel.attach("old", 4);
  for (const id of ["macvlan", "old"]) kernel.links.delete(markOf(id));
  files.add(markOf("old"));
  await rules.pass();
  for (let minutes = 0; minutes < 3; minutes++) await later();
  expect(kernel.commits).toEqual([]);
});

/** Tests when leftovers are removed, with an nf_tables in memory that has one table of kube-proxy's. */
import { beforeEach, expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { NFT_MSG_DELTABLE } from "../../../pkg/netlink/nftables.ts";
import { FakeNftables } from "../../../pkg/nft/fake-nftables.ts";
import { FakeNftablesSocket } from "../../../pkg/nft/fake-nftables-socket.ts";
import { replaceTable } from "../../../pkg/nft/table.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import type { Pass } from "../../core/controller.ts";
import { Health } from "../../core/health.ts";
import { openLog } from "../../core/log.ts";
import { Facts } from "../../core/topic.ts";
import type { Happening } from "../../sources/events.ts";
import { PROXY_TURN, SERVICES_SYNC, type ServicesSync } from "../facts.ts";
import { ProxyLeftoversController } from "./proxy-leftovers.ts";

const TABLE = replaceTable({ family: "ip", name: "kube-proxy", comment: "", sets: [], chains: [] });
const FULL: ServicesSync = {
  ...{ kind: "full", isSuccess: true, atMs: 0, durationMs: 1, families: [4, 6] },
  ...{ serviceChanges: 0, endpointChanges: 0, triggers: [] },
};

const clock = new ManualClock();
let nftables: FakeNftables;
let facts: Facts;
let health: Health;
let happenings: Happening[];
let links: readonly { readonly name: string }[];
let controller: ProxyLeftoversController;
/** Requested further passes. */
let asked: number[];

beforeEach(() => {
  nftables = new FakeNftables();
  nftables.do(...TABLE);
  facts = new Facts();
  health = new Health(clock);
  happenings = [];
  links = [];
  asked = [];
  controller = new ProxyLeftoversController({
    nftables: new EventedNetlink(new FakeNftablesSocket(nftables, 7), "fake", clock),
    ...{ files: new FakeFiles(), execute: async () => undefined, facts, health, clock, log: openLog("fatal", "n1") },
    events: { report: (happening) => happenings.push(happening) },
  });
});

function pass(): Promise<void> {
  const kernel = { snapshot: async () => ({ state: { links }, port: 1 }) } as unknown as Pass["kernel"];
  return controller.run({ reasons: [], kernel, later: (_reason, delayMs) => asked.push(delayMs) });
}
const isLeft = () => nftables.list().length > 0;
const warnings = () => health.readiness().text.match(/^\[!\] .*/gm) ?? [];

test.each<[string, boolean | undefined, Partial<ServicesSync> | undefined]>([
  ["while it is unknown which proxy serves this node", undefined, {}],
  ["while another process serves Services", false, {}],
  ["before Services are programmed", true, undefined],
  ["while only changes were sent", true, { kind: "partial" }],
  ["after a failed comparison", true, { isSuccess: false }],
])("removes nothing %s", async (_when, isOurs, sync) => {
  if (isOurs !== undefined) facts.of(PROXY_TURN).publish({ isOurs });
  if (sync !== undefined) facts.of(SERVICES_SYNC).publish({ ...FULL, ...sync });
  await pass();
  expect(isLeft()).toBe(true);
});

test("removes the leftovers once all Services are programmed, and requests a pass only then", async () => {
  let calls = 0;
  for (const topic of controller.subscriptions.topics) topic.subscribe(() => calls++);
  facts.of(PROXY_TURN).publish({ isOurs: true });
  for (let time = 0; time < 3; time++) facts.of(SERVICES_SYNC).publish({ ...FULL });
  expect(calls).toBe(2);
  await pass();
  expect(isLeft()).toBe(false);
  expect({ happenings, warnings: warnings() }).toEqual({ happenings: [], warnings: [] });
});

test("a long removal takes several passes with pauses and logs its progress", async () => {
  facts.of(PROXY_TURN).publish({ isOurs: true });
  facts.of(SERVICES_SYNC).publish(FULL);
  const base = { type: "nat", priority: -100, rules: [] } as const;
  const chains = [{ ...base, name: "nat-output", hook: "output" } as const, { name: "service", rules: [] }];
  nftables.do(...replaceTable({ family: "ip", name: "kube-proxy", comment: "", sets: [], chains }));
  nftables.beforeAnswer = (messages) => {
    if (messages.length > 2) clock.advance(600);
  };
  const told: string[] = [];
  for (let number = 1; number === 1 || asked.length === number - 1; number++) {
    await pass();
    told.push(...warnings());
  }
  expect(told).toEqual(
    [1, 2, 3, 4].map((done) => `[!] kube-proxy's rules: ${done} of 4 transactions for their removal done`),
  );
  expect(asked).toEqual([100, 100, 100, 100]);
  expect({ isLeft: isLeft(), warnings: warnings() }).toEqual({ isLeft: false, warnings: [] });
});

test("reappearing rules belong to a running kube-proxy: one Event, and no removal", async () => {
  facts.of(PROXY_TURN).publish({ isOurs: true });
  facts.of(SERVICES_SYNC).publish(FULL);
  await pass();
  nftables.do(...TABLE);
  for (let time = 0; time < 3; time++) await pass();
  expect(isLeft()).toBe(true);
  expect(happenings.map(({ reason }) => reason)).toEqual(["KubeProxyBeside"]);
  expect(happenings[0]?.message).toContain("table ip kube-proxy (0 chains) reappeared");
  expect(warnings()).toHaveLength(1);
  nftables.do(...TABLE.slice(0, 2));
  await pass();
  expect(warnings()).toEqual([]);
});

test("a failed removal causes one Event, and is retried", async () => {
  facts.of(PROXY_TURN).publish({ isOurs: true });
  facts.of(SERVICES_SYNC).publish(FULL);
  const EPERM = 1;
  nftables.refuse = ({ type }) => (type === NFT_MSG_DELTABLE.type ? EPERM : 0);
  for (let time = 0; time < 2; time++) await pass().catch((error) => controller.failed(error, 100));
  expect(happenings.map(({ reason }) => reason)).toEqual(["ProxyRulesLeft"]);
  expect(warnings()[0]).toContain("nft delete table ip kube-proxy");
  nftables.refuse = () => 0;
  await pass();
  expect({ isLeft: isLeft(), warnings: warnings() }).toEqual({ isLeft: false, warnings: [] });
});

test("reports virtual servers of IPVS mode with the command that removes them", async () => {
  facts.of(PROXY_TURN).publish({ isOurs: true });
  facts.of(SERVICES_SYNC).publish(FULL);
  links = [{ name: "kube-ipvs0" }];
  await pass();
  expect(warnings()).toEqual([expect.stringMatching(/device kube-ipvs0: .*kube-proxy --cleanup/)]);
  links = [];
  await pass();
  expect(warnings()).toEqual([]);
});

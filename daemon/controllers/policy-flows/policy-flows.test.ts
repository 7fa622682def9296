import { expect, test } from "vitest";
import { ManualClock } from "../../../pkg/cluster/manual-clock.ts";
import { addressKey, formatAddress, parseAddress } from "../../../pkg/ip/address.ts";
import { FLOW_TIMES } from "../../../pkg/kernel/flow.ts";
import { flowMessage, type MadeFlow } from "../../../pkg/kernel/flow-message.ts";
import type { FlowSearch } from "../../../pkg/kernel/flow-search.ts";
import { sysctlPath } from "../../../pkg/kernel/sysctl.ts";
import type { PolicyChange } from "../../../pkg/policy/state.ts";
import { FakeFiles } from "../../../pkg/sys/fake-files.ts";
import type { Logger } from "../../core/log.ts";
import { Metrics } from "../../core/metrics.ts";
import { Runner } from "../../core/runner.ts";
import { Fact } from "../../core/topic.ts";
import type { PolicyState, ProgrammedPolicies } from "../facts.ts";
import { policyFlowsController } from "./policy-flows.ts";
import { StartTimes } from "./start-times.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const NODE = parseAddress("10.0.0.1");
const [POD, PEER, OTHER] = ["10.244.1.2", "10.244.1.3", "10.244.2.4"].map(parseAddress) as [never, never, never];
const [POD6, PEER6] = ["fd00::2", "fd00::3"].map(parseAddress) as [never, never];
/** The time of day at time 0 of the clock, in milliseconds since 1970. */
const DAY_MS = 1_796_000_000_000;

const subject = (address: string): PolicyChange => ({
  ...{ kind: "subject", address: parseAddress(address), subject: { ingress: 7, egress: undefined } },
});

interface Settings {
  readonly cutsEstablished?: boolean;
  readonly mode?: PolicyState["mode"];
  /** True if the kernel records times from the beginning. */
  readonly hasTimes?: boolean;
}

/** A kernel's flows, and policies that deny port 80. */
function bench({ cutsEstablished = true, mode = "enforce", hasTimes = true }: Settings = {}) {
  const clock = new ManualClock();
  clock.chance = 1;
  clock.advance(100_000);
  const files = new FakeFiles();
  files.makeDirectory("/proc/sys/net/netfilter");
  const record = (value: 0 | 1) => files.writeFile(sysctlPath(FLOW_TIMES), new TextEncoder().encode(`${value}\n`));
  record(hasTimes ? 1 : 0);
  const flows = new Map<string, MadeFlow>();
  const dumps: string[] = [];
  const passesMs: number[] = [];
  let failures = 0;
  const cleaner = {
    clean: async ({ selector, matches, beforeDeletion }: FlowSearch) => {
      const { family, source, answeredBy } = selector;
      dumps.push(
        [family, source && `from ${formatAddress(source)}`, answeredBy && `to ${formatAddress(answeredBy)}`]
          .filter((part) => part !== undefined)
          .join(" "),
      );
      passesMs.push(clock.nowMs());
      if (failures > 0) {
        failures--;
        throw new Error("the kernel refuses");
      }
      let deleted = 0;
      for (const [name, flow] of flows) {
        if (flow.from.family !== family) continue;
        if (source && addressKey(source) !== addressKey(flow.from)) continue;
        if (answeredBy && addressKey(answeredBy) !== addressKey(flow.to)) continue;
        if (!matches(flowMessage(flow))) continue;
        await beforeDeletion?.();
        events.push(`delete ${name}`);
        flows.delete(name);
        deleted++;
      }
      return deleted;
    },
  };
  const events: string[] = [];
  const lines: unknown[] = [];
  const log = { info: (fields: object) => lines.push(fields), warn: () => undefined } as unknown as Logger;
  const state = new Fact<PolicyState>("state");
  state.publish({ mode, hasPolicies: true, fail: "closed" });
  const programmed = new Fact<ProgrammedPolicies>("programmed", (a, b) => a === b);
  const judge = () => ({ egress: undefined, ingress: undefined });
  const runner = new Runner({
    ...{ clock, log, metrics: new Metrics(), kernel: { snapshot: () => Promise.reject(new Error()) } },
  });
  let cut = 0;
  runner.start(
    policyFlowsController({
      ...{ clock, log, cleaner, cutsEstablished, state, programmed },
      cutConnections: {
        add: ({ from, sourcePort, to, port }) =>
          events.push(`add ${formatAddress(from)} ${sourcePort} ${formatAddress(to)} ${port}`),
        enter: async () => void events.push("enter"),
      },
      startTimes: new StartTimes({ files, clock, timeOfDayMs: () => DAY_MS + clock.nowMs() }),
      ownAddresses: async () => [NODE],
      count: (flows) => {
        cut += flows;
      },
    }),
  );
  const advance = async (ms: number) => {
    for (let left = ms; left > 0; left -= 10) {
      clock.advance(10);
      for (let turn = 0; turn < 4; turn++) await settled();
    }
  };
  const say = (said: Partial<ProgrammedPolicies>) =>
    programmed.publish({
      ...{ changes: undefined, hasWritten: true, damagedSinceMs: undefined, judge, profile: () => undefined },
      isAllowed: ({ port }) => port !== 80,
      ...said,
    });
  return {
    ...{ clock, flows, dumps, events, lines, runner, passesMs, advance, say, record },
    fail: (times: number) => {
      failures = times;
    },
    left: () => [...flows.keys()],
    cut: () => cut,
  };
}

test("cuts flows that policies do not allow when weftd starts, and keeps the others", async () => {
  const { flows, left, say, advance, cut, lines } = bench();
  flows.set("denied", { from: PEER, to: POD });
  flows.set("allowed", { from: PEER, to: POD, port: 443 });
  flows.set("of the node", { from: NODE, to: POD });
  flows.set("denied 6", { from: PEER6, to: POD6, protocol: 17 });
  say({ changes: undefined, hasWritten: false });
  await advance(20);
  expect(left()).toEqual(["allowed", "of the node"]);
  expect(cut()).toBe(2);
  expect(lines).toEqual([
    { family: 4, deleted: 1 },
    { family: 6, deleted: 1 },
  ]);
});

test("judges only the flows from and to changed addresses, which the kernel selects", async () => {
  const { flows, left, dumps, say, advance } = bench();
  say({ changes: [] });
  flows.set("to", { from: PEER, to: POD });
  flows.set("from", { from: POD, to: OTHER });
  flows.set("of others", { from: PEER, to: OTHER });
  say({ changes: [subject("10.244.1.2"), { kind: "pods", number: 5, identities: new Set([1]) }] });
  await advance(20);
  expect(left()).toEqual(["of others"]);
  expect(dumps).toEqual(["4 from 10.244.1.2", "4 to 10.244.1.2"]);
});

test("a changed peer counts as well; IPv6 and many addresses need one dump of the family", async () => {
  const { flows, left, dumps, say, advance } = bench();
  say({ changes: [] });
  flows.set("6", { from: PEER6, to: POD6 });
  flows.set("4", { from: PEER, to: POD });
  flows.set("of others", { from: parseAddress("10.9.9.9"), to: OTHER });
  say({ changes: [{ kind: "peer", address: PEER6, identity: 3 }] });
  await advance(20);
  expect([left(), dumps]).toEqual([["4", "of others"], ["6"]]);
  await advance(500);
  say({ changes: Array.from({ length: 5 }, (_, at) => subject(`10.244.1.${at}`)) });
  await advance(20);
  expect([left(), dumps.slice(1)]).toEqual([["of others"], ["4"]]);
});

test("a comparison that changed nothing judges nothing", async () => {
  const { flows, left, dumps, say, advance } = bench();
  say({ changes: [] });
  flows.set("denied", { from: PEER, to: POD });
  say({ changes: undefined, hasWritten: false });
  await advance(600);
  expect([left(), dumps]).toEqual([["denied"], []]);
  say({ changes: undefined, hasWritten: true });
  await advance(600);
  expect(left()).toEqual([]);
});

test.each([
  ["without the flag", { cutsEstablished: false }],
  ["in audit mode", { mode: "audit" }],
] as const)("cuts no established flow %s", async (_, settings) => {
  const { flows, dumps, say, advance } = bench(settings);
  flows.set("denied", { from: PEER, to: POD });
  say({ changes: undefined });
  say({ changes: [subject("10.244.1.2")] });
  await advance(600);
  expect([flows.size, dumps]).toEqual([1, []]);
});

test("cuts flows that began while the table was missing, even without the flag", async () => {
  const { clock, flows, left, say, advance } = bench({ cutsEstablished: false });
  say({});
  const damagedSinceMs = clock.nowMs() + 50_000;
  flows.set("before", { from: PEER, to: POD, startedMs: DAY_MS + damagedSinceMs - 5000 });
  flows.set("meanwhile", { from: PEER, to: POD, fromPort: 2, startedMs: DAY_MS + damagedSinceMs + 10 });
  flows.set("allowed", { from: PEER, to: POD, port: 443, startedMs: DAY_MS + damagedSinceMs + 10 });
  // The kernel has recorded times since weftd started, so this one is older.
  flows.set("without a time", { from: OTHER, to: POD });
  await advance(60_000);
  say({ damagedSinceMs });
  await advance(20);
  expect(left()).toEqual(["before", "allowed", "without a time"]);
});

test("the window begins a second earlier, because weftd learns of the damage late", async () => {
  const { clock, flows, left, say, advance } = bench({ cutsEstablished: false });
  say({});
  await advance(5000);
  const damagedSinceMs = clock.nowMs();
  flows.set("just before", { from: PEER, to: POD, startedMs: DAY_MS + damagedSinceMs - 900 });
  say({ damagedSinceMs });
  await advance(20);
  expect(left()).toEqual([]);
});

test("a connection that the kernel tracks only after the repair, from its server's packets on, is cut within seconds", async () => {
  const { clock, flows, left, say, advance } = bench({ cutsEstablished: false });
  say({});
  await advance(5000);
  say({ damagedSinceMs: clock.nowMs() });
  await advance(4000);
  const startedMs = DAY_MS + clock.nowMs();
  const fromServer = { from: POD, fromPort: 80, to: PEER, port: 40_000, startedMs };
  flows.set("of its server", { ...fromServer, isPickedUp: true });
  flows.set("of its server, allowed", { ...fromServer, fromPort: 443, isPickedUp: true });
  flows.set("begun after the repair", { from: PEER, to: POD, startedMs });
  await advance(2100);
  expect(left()).toEqual(["of its server, allowed", "begun after the repair"]);
});

test("looks for such connections for half a minute", async () => {
  const { clock, dumps, say, advance } = bench({ cutsEstablished: false });
  say({});
  say({ damagedSinceMs: clock.nowMs() });
  await advance(60_000);
  expect(dumps.length / 2).toBeGreaterThanOrEqual(15);
  expect(dumps.length / 2).toBeLessThanOrEqual(17);
});

test("a flow without a time is cut if the kernel did not record times when the window began", async () => {
  const { clock, flows, left, say, advance, record } = bench({ cutsEstablished: false, hasTimes: false });
  say({});
  flows.set("unknown", { from: PEER, to: POD });
  flows.set("allowed", { from: PEER, to: POD, port: 443 });
  say({ damagedSinceMs: clock.nowMs() });
  await advance(600);
  expect(left()).toEqual(["allowed"]);
  await advance(40_000);
  record(1);
  say({});
  await advance(5000);
  flows.set("older", { from: PEER, to: POD });
  say({ damagedSinceMs: clock.nowMs() });
  await advance(600);
  expect(left()).toEqual(["allowed", "older"]);
});

test("in audit mode, no flow is cut, even if the table was missing", async () => {
  const { clock, flows, say, advance } = bench({ mode: "audit" });
  flows.set("meanwhile", { from: PEER, to: POD, startedMs: DAY_MS + clock.nowMs() });
  say({ damagedSinceMs: clock.nowMs() });
  await advance(600);
  expect(flows.size).toBe(1);
});

test("changes of one moment share a pass, and passes begin at most twice a second", async () => {
  const { clock, passesMs, say, advance } = bench();
  const startMs = clock.nowMs();
  say({ changes: [subject("10.244.1.2")] });
  say({ changes: [subject("10.244.1.3")] });
  await advance(20);
  expect(passesMs.map((ms) => ms - startMs)).toEqual([10, 10, 10, 10]);
  say({ changes: [subject("10.244.1.4")] });
  await advance(600);
  expect(passesMs.slice(4).map((ms) => ms - startMs)).toEqual([510, 510]);
});

test("remembers each connection before its flow is deleted", async () => {
  const { flows, events, say, advance } = bench();
  flows.set("denied", { from: PEER, to: POD, original: parseAddress("10.96.0.1"), fromPort: 41_000 });
  flows.set("allowed", { from: PEER, to: POD, port: 443 });
  say({});
  await advance(20);
  expect(events).toEqual(["add 10.244.1.3 41000 10.244.1.2 80", "enter", "delete denied"]);
});

test("a failed pass is repeated with all of its work", async () => {
  const { clock, flows, left, say, advance, fail } = bench();
  flows.set("denied", { from: PEER, to: POD });
  flows.set("denied 6", { from: PEER6, to: POD6 });
  fail(1);
  say({ changes: [subject("10.244.1.2"), subject("fd00::2")], damagedSinceMs: clock.nowMs() });
  await advance(20);
  // The other family does not wait.
  expect(left()).toEqual(["denied"]);
  await advance(1500);
  expect(left()).toEqual([]);
});

test("does nothing after it has stopped", async () => {
  const { flows, runner, say, advance } = bench();
  flows.set("denied", { from: PEER, to: POD });
  await runner.stop();
  say({});
  await advance(600);
  expect(flows.size).toBe(1);
});

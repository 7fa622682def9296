import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { parseNode } from "../../pkg/cluster/node/node.ts";
import type { SourceEvent } from "../../pkg/cluster/node/source.ts";
import { Health } from "../core/health.ts";
import { openLog } from "../core/log.ts";
import { Metrics } from "../core/metrics.ts";
import type { Happening } from "./events.ts";
import { nodeEvents } from "./node-events.ts";
import { NodeView } from "./node-view.ts";

function bench() {
  const clock = new ManualClock();
  const view = new NodeView("n1");
  const health = new Health(clock);
  const metrics = new Metrics();
  let changes = 0;
  const told: Happening[] = [];
  const listener = nodeEvents({
    announcedProblems: () => [],
    ...{ view, clock, health, metrics, log: openLog("fatal", "n1") },
    events: { report: (happening) => told.push(happening) },
    onChange: () => changes++,
  });
  return { clock, view, health, metrics, listener, told, changes: () => changes };
}

const STALE: SourceEvent = { type: "stale", silentMs: 1, reason: "list nodes: no route to host", retryMs: 500 };
const SYNC: SourceEvent = { type: "sync", nodes: [parseNode({ metadata: { name: "n1" } })] };

test("readiness has the reason while Nodes were never listed", () => {
  const { listener, health, changes } = bench();
  listener(STALE);
  expect(health.readiness().text).toContain("[-] nodes: not listed yet: list nodes: no route to host");
  expect(changes()).toBe(0);
});

test("an outage after the first list is counted and does not affect readiness", async () => {
  const { listener, health, metrics, view } = bench();
  listener(SYNC);
  listener({ type: "connected" });
  expect(await metrics.text()).toContain("weft_node_watch_connected 1");
  listener(STALE);
  listener(STALE);
  expect(health.isHolding("nodes")).toBe(true);
  expect(view.isSynced).toBe(true);
  const text = await metrics.text();
  expect(text).toContain("weft_node_watch_connected 0");
  expect(text).toContain("weft_node_watch_failures_total 2");
});

test("every change of Nodes requests a pass, and every event shows that the source is alive", () => {
  const { listener, changes, health, clock } = bench();
  clock.advance(14 * 60_000);
  listener(SYNC);
  listener({ type: "upsert", node: parseNode({ metadata: { name: "n2" }, spec: { podCIDRs: ["nonsense"] } }) });
  listener({ type: "delete", name: "n2" });
  expect(changes()).toBe(3);
  clock.advance(14 * 60_000);
  expect(health.liveness().isGood).toBe(true);
});

test("problems of this node's own Node are reported as Events, and those of other Nodes are not", () => {
  const { listener, told } = bench();
  const bad = (name: string) => parseNode({ metadata: { name }, spec: { podCIDRs: ["nonsense"] } });
  listener({ type: "sync", nodes: [bad("n1"), bad("n2")] });
  listener({ type: "upsert", node: bad("n3") });
  expect(told).toEqual([
    { type: "Warning", reason: "NodeUnusable", message: expect.stringContaining('spec.podCIDRs: "nonsense"') },
  ]);
});

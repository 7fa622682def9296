import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { ANNOTATION, formatAnnotations, type WantedAnnotations } from "../../pkg/cluster/node/annotations.ts";
import { type KubeNode, parseNode } from "../../pkg/cluster/node/node.ts";
import { parseAddress } from "../../pkg/ip/address.ts";
import { openLog } from "../core/log.ts";
import { Metrics } from "../core/metrics.ts";
import { Announcer } from "./announcer.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const node: KubeNode = { metadata: { name: "n1" } };
const announcement = { backend: { type: "host-gw" }, publicIp: parseAddress("192.0.2.1") };

function bench(awaitsPolicyMode = false) {
  const clock = new ManualClock();
  const published: WantedAnnotations[] = [];
  const state = { failure: undefined as Error | undefined, signal: undefined as AbortSignal | undefined };
  const metrics = new Metrics();
  const announcer = new Announcer({
    ...{ nodeName: "n1", awaitsPolicyMode },
    clock,
    log: openLog("fatal", "n1"),
    metrics,
    api: {
      publishAnnotations: async (_name, wanted, signal) => {
        state.signal = signal;
        if (state.failure !== undefined) throw state.failure;
        published.push(wanted);
        return node;
      },
    },
  });
  return { clock, published, state, announcer, metrics };
}

test("a repeated announcement is published once", async () => {
  const { clock, published, announcer } = bench();
  const own = parseNode(node);
  announcer.announce(announcement, own);
  announcer.announce({ ...announcement }, own);
  clock.advance(0);
  await settled();
  announcer.announce(announcement, own);
  clock.advance(60_000);
  await settled();
  expect(published).toEqual([expect.objectContaining({ [ANNOTATION.publicIp]: "192.0.2.1" })]);
});

test("nothing is published if the Node already has the announced annotations", async () => {
  const { clock, published, announcer } = bench();
  announcer.announce(announcement, parseNode(node));
  clock.advance(0);
  await settled();
  const annotations = textsOf(formatAnnotations(announcement));
  announcer.announce(announcement, parseNode({ metadata: { name: "n1", annotations } }));
  clock.advance(0);
  await settled();
  expect(published).toHaveLength(1);
});

test("a new announcement, or a changed Node, is published again", async () => {
  const { clock, published, announcer } = bench();
  const own = parseNode(node);
  for (const [said, seen] of [
    [announcement, own],
    [{ ...announcement, publicIp: parseAddress("192.0.2.2") }, own],
    [{ ...announcement, publicIp: parseAddress("192.0.2.2") }, parseNode(node)],
  ] as const) {
    announcer.announce(said, seen);
    clock.advance(0);
    await settled();
  }
  expect(published.map((one) => one[ANNOTATION.publicIp])).toEqual(["192.0.2.1", "192.0.2.2", "192.0.2.2"]);
});

test("a refusal is counted and retried", async () => {
  const { clock, published, state, announcer, metrics } = bench();
  state.failure = new Error("annotate node n1: 403");
  announcer.announce(announcement, parseNode(node));
  clock.advance(0);
  await settled();
  expect(published).toEqual([]);
  expect(await metrics.text()).toContain("weft_announcement_failures_total 1");
  state.failure = undefined;
  clock.advance(1000);
  await settled();
  expect(published).toHaveLength(1);
});

test("stopping aborts the running request", async () => {
  const { clock, state, announcer } = bench();
  announcer.announce(announcement, parseNode(node));
  clock.advance(0);
  await announcer.stop();
  expect(state.signal?.aborted).toBe(true);
});

test("backend and mode of NetworkPolicies are published together, never the backend alone", async () => {
  const { clock, published, announcer } = bench(true);
  const own = parseNode(node);
  const pass = async () => {
    clock.advance(0);
    await settled();
  };
  announcer.announce(announcement, own);
  await pass();
  expect(published).toEqual([]);
  announcer.recordPolicyMode("enforce");
  await pass();
  expect(published).toEqual([
    expect.objectContaining({ [ANNOTATION.backendType]: "host-gw", [ANNOTATION.networkPolicy]: "enforce" }),
  ]);
  announcer.announce(announcement, own);
  await pass();
  expect(published).toHaveLength(1);
  const removed = parseNode({
    metadata: { name: "n1", annotations: { ...textsOf(published[0] ?? {}), [ANNOTATION.networkPolicy]: "" } },
  });
  announcer.announce(announcement, removed);
  await pass();
  expect(published[1]).toMatchObject({ [ANNOTATION.networkPolicy]: "enforce" });
});

test("without NetworkPolicies, the recorded mode is removed", async () => {
  const { clock, published, announcer } = bench();
  announcer.recordPolicyMode(undefined);
  announcer.announce(announcement, parseNode(node));
  clock.advance(0);
  await settled();
  expect(published).toEqual([expect.objectContaining({ [ANNOTATION.networkPolicy]: null })]);
});

function textsOf(wanted: WantedAnnotations): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(wanted).filter((entry): entry is [string, string] => entry[1] !== null));
}

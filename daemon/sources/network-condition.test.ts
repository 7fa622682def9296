import { expect, test } from "vitest";
import { ManualClock } from "../../pkg/cluster/manual-clock.ts";
import { type NodeCondition, parseNode } from "../../pkg/cluster/node/node.ts";
import { openLog } from "../core/log.ts";
import { NetworkCondition } from "./network-condition.ts";

const settled = () => new Promise((resolve) => setImmediate(resolve));
const nodeWith = (...conditions: NodeCondition[]) => parseNode({ metadata: { name: "n1" }, status: { conditions } });

function bench() {
  const clock = new ManualClock();
  const published: NodeCondition[] = [];
  const state = { failures: 0 };
  const condition = new NetworkCondition({
    nodeName: "n1",
    clock,
    log: openLog("fatal", "n1"),
    api: {
      publishCondition: async (_name, wanted) => {
        if (state.failures-- > 0) throw new Error("403");
        published.push(wanted);
        return { metadata: { name: "n1" } };
      },
    },
  });
  const pass = async (ms = 0) => {
    clock.advance(ms);
    await settled();
  };
  return { condition, published, state, pass };
}

const IS_UP: NodeCondition = { type: "NetworkUnavailable", status: "False", reason: "WeftIsUp" };

test.each([
  ["has no such condition", nodeWith()],
  ["waits for a network", nodeWith({ type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated" })],
  ["has flannel's", nodeWith({ type: "NetworkUnavailable", status: "False", reason: "FlannelIsUp" })],
])("is written once to a Node that %s", async (_what, own) => {
  const { condition, published, pass } = bench();
  condition.serves(own);
  condition.serves(own);
  await pass();
  expect(published).toMatchObject([IS_UP]);
});

test("is not written to a Node that has it, and is written again after another program changed it", async () => {
  const { condition, published, pass } = bench();
  condition.serves(nodeWith(IS_UP));
  await pass();
  expect(published).toEqual([]);
  condition.serves(nodeWith({ ...IS_UP, status: "True" }));
  await pass();
  expect(published).toHaveLength(1);
});

test("is retried after a refusal", async () => {
  const { condition, published, state, pass } = bench();
  state.failures = 1;
  condition.serves(nodeWith());
  await pass();
  expect(published).toEqual([]);
  await pass(1000);
  expect(published).toHaveLength(1);
});

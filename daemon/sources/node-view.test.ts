import { expect, test } from "vitest";
import { type ClusterNode, parseNode } from "../../pkg/cluster/node/node.ts";
import { NodeView } from "./node-view.ts";

function node(name: string, podCidr?: string): ClusterNode {
  return parseNode({ metadata: { name }, ...(podCidr && { spec: { podCIDRs: [podCidr] } }) });
}

const names = (view: NodeView) => view.peers.map(({ name }) => name);

test("a view is in sync only after a complete list", () => {
  const view = new NodeView("n1");
  expect(view.isSynced).toBe(false);
  expect(view.accept({ type: "connected" }, 1)).toBe(false);
  expect(view.accept({ type: "sync", nodes: [node("n2"), node("n1")] }, 2)).toBe(true);
  expect([view.isSynced, view.own?.name, names(view)]).toEqual([true, "n1", ["n2"]]);
});

test("nodes are added, changed and deleted; a later list removes the nodes that it lacks", () => {
  const view = new NodeView("n1");
  view.accept({ type: "sync", nodes: [node("n3"), node("n2")] }, 1);
  expect(view.own).toBeUndefined();
  view.accept({ type: "upsert", node: node("n1", "10.244.1.0/24") }, 2);
  view.accept({ type: "upsert", node: node("n4") }, 3);
  view.accept({ type: "delete", name: "n2" }, 4);
  expect([names(view), view.own?.podCidrs.length]).toEqual([["n3", "n4"], 1]);
  view.accept({ type: "sync", nodes: [node("n5")] }, 5);
  expect([names(view), view.own]).toEqual([["n5"], undefined]);
});

test("an unreachable source removes no node", () => {
  const view = new NodeView("n1");
  view.accept({ type: "sync", nodes: [node("n2")] }, 1);
  view.takeHeard();
  expect(view.accept({ type: "stale", silentMs: 5, reason: "no route", retryMs: 5 }, 2)).toBe(false);
  expect([names(view), view.isSynced, view.takeHeard()]).toEqual([["n2"], true, []]);
});

test("events count as unprogrammed until a pass has taken them without giving them back", () => {
  const view = new NodeView("n1");
  view.accept({ type: "sync", nodes: [] }, 10);
  view.accept({ type: "upsert", node: node("n2") }, 20);
  const taken = view.takeHeard();
  view.accept({ type: "upsert", node: node("n3") }, 30);
  view.giveBackHeard(taken);
  expect(view.takeHeard()).toEqual([10, 20, 30]);
  expect(view.takeHeard()).toEqual([]);
});

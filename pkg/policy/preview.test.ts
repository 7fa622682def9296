import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { Flow } from "../kernel/flow.ts";
import { flowMessage, type MadeFlow } from "../kernel/flow-message.ts";
import type { Judgement, SideJudgement } from "./judgement.ts";
import { FlowGroups, previewFlows } from "./preview.ts";

const [NODE, POD, PEER, OTHER] = ["10.0.0.1", "10.244.1.2", "10.244.1.3", "10.244.2.4"].map(parseAddress) as [
  ...[never, never, never, never],
];
const side = (direction: "ingress" | "egress", verdict: "allow" | "deny", isAudited = false): SideJudgement => ({
  ...{ direction, pod: "a/b", verdict, isAudited, tier: undefined, policies: [], isByRule: false },
});

function groupsOf(...flows: readonly MadeFlow[]): FlowGroups {
  const groups = new FlowGroups();
  for (const each of flows) {
    const flow = Flow.read(flowMessage(each));
    if (flow !== undefined) groups.add(flow);
  }
  return groups;
}

function preview(groups: FlowGroups, judge: () => Judgement, pause?: number) {
  let pieces = 0;
  const judging = previewFlows(groups.list(), judge, [NODE], pause);
  for (let next = judging.next(); ; next = judging.next()) {
    if (next.done) return { denied: next.value, pieces };
    pieces++;
  }
}

const denied = (): Judgement => ({ egress: undefined, ingress: side("ingress", "deny") });

test("groups flows that differ only in their source port, the most frequent first", () => {
  const groups = groupsOf(
    ...[
      { from: PEER, to: POD },
      { from: OTHER, to: POD, fromPort: 1 },
    ],
    ...[
      { from: OTHER, to: POD, fromPort: 2 },
      { from: OTHER, to: POD, port: 443 },
    ],
  );
  expect(groups.flows).toBe(4);
  const list = preview(groups, denied).denied;
  expect(list.map(({ question: { from, port }, flows }) => [from, port, flows])).toEqual([
    ...[
      [OTHER, 80, 2],
      [PEER, 80, 1],
      [OTHER, 443, 1],
    ],
  ]);
});

test("lists a flow that either side denies, with the first such side, audited or not", () => {
  const groups = groupsOf({ from: PEER, to: POD });
  const deniedBy = (judgement: Judgement) => preview(groups, () => judgement).denied[0]?.deniedBy;
  const [out, into] = [side("egress", "deny", true), side("ingress", "deny")];
  expect(deniedBy({ egress: out, ingress: into })).toBe(out);
  expect(deniedBy({ egress: side("egress", "allow"), ingress: into })).toBe(into);
  expect(deniedBy({ egress: out, ingress: undefined })).toBe(out);
  expect(deniedBy({ egress: side("egress", "allow"), ingress: side("ingress", "allow") })).toBeUndefined();
  expect(deniedBy({ egress: undefined, ingress: undefined })).toBeUndefined();
});

test("counts, but never lists, flows of the node, of a pod to itself, and announced flows", () => {
  const groups = groupsOf({ from: NODE, to: POD }, { from: POD, to: POD }, { from: PEER, to: POD, status: 1 });
  expect([groups.flows, preview(groups, denied).denied]).toEqual([3, []]);
});

test("pauses after each piece of the work", () => {
  const groups = groupsOf(...Array.from({ length: 95 }, (_, port) => ({ from: PEER, to: POD, port: port + 1 })));
  expect(preview(groups, denied, 10)).toMatchObject({ pieces: 9, denied: { length: 95 } });
});

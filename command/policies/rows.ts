/** Formats policies, and flows that policies do not allow, as rows of tables. Pure. */
import { decisionText, type PageFlow, type PagePolicy } from "../node/policies-page.ts";
import type { Block, Cell } from "../outcome.ts";

export const HEAD = ["POLICY", "TIER", "DIRECTIONS", "PODS HERE", "ALLOWED", "DENIED", ""] as const;

export interface RowOptions {
  /** True if the pods of this node have rows, too. */
  readonly hasPods: boolean;
}

export function policiesTable(policies: readonly PagePolicy[], { hasPods }: RowOptions): Block {
  return {
    kind: "table",
    head: HEAD,
    rows: policies.flatMap((policy) => [
      policyRow(policy),
      ...(hasPods ? policy.pods.map((pod): Cell[] => [`  ${pod}`, "", "", "", "", "", ""]) : []),
      ...policy.problems.map((problem): Cell[] => ["", "", "", "", "", "", { text: problem, tone: "warning" }]),
    ]),
  };
}

function policyRow(policy: PagePolicy): Cell[] {
  const { tier, priority, directions, pods, allowedPackets, deniedPackets, isAudited } = policy;
  const isUsed = pods.length > 0;
  const count = (packets: number): Cell => (isUsed ? String(packets) : { text: "-", tone: "quiet" });
  return [
    { text: policy.policy, tone: "strong" },
    priority === undefined ? tier : `${tier} ${priority}`,
    directions.join(", ") || { text: "none", tone: "quiet" },
    String(pods.length),
    count(allowedPackets),
    count(deniedPackets),
    isUsed && isAudited ? { text: "audit: denied packets pass", tone: "warning" } : "",
  ];
}

export function flowsTable(flows: readonly PageFlow[]): Block {
  return {
    kind: "table",
    head: ["FROM", "TO", "PORT", "FLOWS", "DENIED BY"],
    rows: flows.map((flow): Cell[] => [
      placeOf(flow.from, flow.fromPod),
      placeOf(flow.to, flow.toPod),
      flow.port === 0 ? flow.protocol.toLowerCase() : `${flow.port}/${flow.protocol.toLowerCase()}`,
      String(flow.flows),
      deniedText(flow),
    ]),
  };
}

/** Pods come with their address: two pods of one name may have been seen. */
function placeOf(address: string, pod: string | undefined): string {
  return pod === undefined ? address : `${pod} (${address})`;
}

function deniedText({ deniedBy }: PageFlow): string {
  const { direction, pod, isAudited } = deniedBy;
  return `${direction} of ${pod}: ${decisionText(deniedBy)}${isAudited ? "; its Namespace is in audit mode" : ""}`;
}

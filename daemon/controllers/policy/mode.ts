/**
 * Decides whether this node enforces NetworkPolicies or audits them. A cluster that has run pods without enforcement may
 * hold policies that were never tested. Such a cluster starts in audit mode. Pure.
 */
import type { RecordedPolicyMode } from "../../../pkg/cluster/node/annotations.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";

export interface ModeChoice {
  readonly mode: "enforce" | "audit" | "off";
  /** "flag", or a sentence about the decision. */
  readonly reason: string;
}

/** The parts of a Node on which the decision depends. */
type Seen = Pick<ClusterNode, "name" | "backend" | "networkPolicy">;

/**
 * `flag` is --network-policy; undefined if it is not given. `own` is this Node, and `others` are all other Nodes. The
 * mode that this Node has recorded stays, so a restart does not change it, and no other node can.
 */
export function policyMode(
  flag: ModeChoice["mode"] | undefined,
  own: Seen | undefined,
  others: readonly Seen[],
): ModeChoice {
  if (flag !== undefined) return { mode: flag, reason: "flag" };
  if (own?.networkPolicy !== undefined)
    return { mode: own.networkPolicy, reason: "this Node has recorded the mode earlier" };
  const recorded = recordedBy(others);
  if (recorded !== undefined) return recorded;
  const earlier = [...(own === undefined ? [] : [own]), ...others].find(({ backend }) => backend !== undefined);
  if (earlier === undefined) return { mode: "enforce", reason: "the cluster is new: no Node has run pods before" };
  return {
    mode: "audit",
    reason: `Node ${earlier.name} has run pods before, without NetworkPolicies; --network-policy enforce ends the audit`,
  };
}

/** Audit wins, because a cluster whose nodes differ is between two settings. */
function recordedBy(others: readonly Seen[]): ModeChoice | undefined {
  const by = (mode: RecordedPolicyMode) => others.find(({ networkPolicy }) => networkPolicy === mode);
  const first = by("audit") ?? by("enforce");
  if (first?.networkPolicy === undefined) return undefined;
  return { mode: first.networkPolicy, reason: `Node ${first.name} has recorded the mode` };
}

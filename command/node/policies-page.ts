/** weftd's reports of policies: /debug/policies, /debug/policy-judgement and /debug/policy-preview. */

export type PolicyMode = "enforce" | "audit" | "off";

export interface PagePolicy {
  readonly kind: "NetworkPolicy" | "ClusterNetworkPolicy";
  /** "namespace/name", or "name" of a ClusterNetworkPolicy. */
  readonly policy: string;
  readonly tier: "Admin" | "NetworkPolicy" | "Baseline";
  readonly priority?: number;
  /** The directions in which it has rules or isolates. */
  readonly directions: readonly ("ingress" | "egress")[];
  /** The pods of this node that it concerns: "namespace/name". */
  readonly pods: readonly string[];
  /** True if all of these pods are in Namespaces in audit mode. */
  readonly isAudited: boolean;
  /** First packets of connections since the profiles exist: those its rules matched, and those denied to its pods. */
  readonly allowedPackets: number;
  readonly deniedPackets: number;
  /** The parts of the object that cannot be read. They match nothing. */
  readonly problems: readonly string[];
}

/** GET /debug/policies */
export interface PoliciesPage {
  readonly mode: PolicyMode;
  /** Why the mode is that: "flag", or a sentence about the decision. */
  readonly modeReason: string;
  readonly isSynced: boolean;
  readonly warnings: readonly string[];
  readonly counts: {
    readonly policies: number;
    readonly clusterPolicies: number;
    readonly namespaces: number;
    readonly pods: number;
    readonly localPods: number;
    readonly isolatedPods: number;
    readonly identities: number;
    readonly profiles: number;
  };
  readonly lastSync?: { readonly agoMs: number; readonly durationMs: number; readonly error?: string };
  readonly policies: readonly PagePolicy[];
}

/** One side of a connection, as `SideJudgement` of pkg/policy/judgement.ts. */
export interface PageSide {
  readonly direction: "ingress" | "egress";
  readonly pod: string;
  readonly verdict: "allow" | "deny";
  readonly isAudited: boolean;
  readonly tier?: "Admin" | "NetworkPolicy" | "Baseline";
  readonly policies: readonly string[];
  readonly isByRule: boolean;
}

/** GET /debug/policy-judgement?from=ADDRESS&to=ADDRESS&protocol=TCP&port=80 */
export interface JudgementPage {
  readonly mode: PolicyMode;
  readonly egress?: PageSide;
  readonly ingress?: PageSide;
}

/** A present flow that policies do not allow. Addresses and port are those after translation. */
export interface PageFlow {
  readonly protocol: string;
  readonly from: string;
  readonly fromPod?: string;
  readonly to: string;
  readonly toPod?: string;
  readonly port: number;
  /** The number of flows that differ only in their source port. */
  readonly flows: number;
  readonly deniedBy: PageSide;
}

/** GET /debug/policy-preview: present flows that enforcement would deny if they began now. */
export interface PreviewPage {
  readonly mode: PolicyMode;
  readonly flows: number;
  readonly denied: readonly PageFlow[];
}

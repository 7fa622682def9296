/** The answer to the question whether policies allow a connection, with the policies that decide. */
import type { Address } from "../ip/address.ts";
import type { Direction, TierName, Verdict } from "./state.ts";

export interface Question {
  readonly from: Address;
  readonly to: Address;
  /** The number of the IP protocol. */
  readonly protocol: number;
  /** The destination port; 0 for protocols without ports. */
  readonly port: number;
}

/** The judgement of one side of a connection: egress at the source, ingress at the destination. */
export interface SideJudgement {
  readonly direction: Direction;
  /** "namespace/name" of the pod whose policies these are. */
  readonly pod: string;
  readonly verdict: Exclude<Verdict, "pass">;
  /** True if a denied packet passes nevertheless, because the pod's Namespace is in audit mode. */
  readonly isAudited: boolean;
  /** The tier that decides; undefined if no policy concerns the pod in this direction. */
  readonly tier: TierName | undefined;
  /**
   * The policies whose rules allow or deny the connection, exactly, sorted. If no rule matches a pod that
   * NetworkPolicies isolate: those NetworkPolicies. Names as in `Step.policies`.
   */
  readonly policies: readonly string[];
  /** True if a rule of `policies` matches; false if the verdict is that of the tier without a matching rule. */
  readonly isByRule: boolean;
}

/** A side without a pod (a node, or an address outside the cluster) is undefined. */
export interface Judgement {
  readonly egress: SideJudgement | undefined;
  readonly ingress: SideJudgement | undefined;
}

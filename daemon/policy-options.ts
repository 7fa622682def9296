/** weftd's flags for NetworkPolicies. */
import type { Option } from "commander";
import { flag, parseBoolean } from "./flag.ts";

const MODES = ["enforce", "audit", "off"] as const;
const FAILURES = ["closed", "open"] as const;

export interface PolicyOptions {
  /** Undefined: enforce in a new cluster, audit in a cluster that ran pods before it had policies enforced. */
  readonly networkPolicy: (typeof MODES)[number] | undefined;
  /** Undefined: closed while the cluster has policies. */
  readonly policyFail: (typeof FAILURES)[number] | undefined;
  /** Removes established flows that policies no longer allow. */
  readonly policyCutEstablished: boolean;
  /** Accepts from each pod only packets with the pod's own addresses. */
  readonly guardSenders: boolean;
}

export function policyFlags(): readonly Option[] {
  return [
    flag(
      "--network-policy <mode>",
      "WEFTD_NETWORK_POLICY",
      "enforce NetworkPolicies, audit them (count and log denied packets, drop none), or turn them off (default: the mode " +
        "recorded on the Nodes; if none is recorded, audit in a cluster whose pods were connected before, enforce in a new one)",
    ).choices(MODES),
    flag(
      "--policy-fail <way>",
      "WEFTD_POLICY_FAIL",
      "if weftd does not answer when a pod starts: closed fails the start, which kubelet retries; open starts the pod " +
        "without its policies (default: closed while the cluster has policies)",
    ).choices(FAILURES),
    flag(
      "--policy-cut-established [boolean]",
      "WEFTD_POLICY_CUT_ESTABLISHED",
      "cut established connections that policies no longer allow, within a second of the change",
    )
      .preset("true")
      .argParser(parseBoolean)
      .default(false),
    flag(
      "--guard-senders [boolean]",
      "WEFTD_GUARD_SENDERS",
      "accept from each pod only packets with the pod's own IP and hardware addresses; false for pods that route",
    )
      .preset("true")
      .argParser(parseBoolean)
      .default(true),
  ];
}

/** Returns the error in a combination of flags; undefined if there is none. */
export function policyMistake({
  nodes,
  networkPolicy,
}: Pick<PolicyOptions, "networkPolicy"> & { readonly nodes: string | undefined }): string | undefined {
  if (nodes === undefined || networkPolicy === undefined || networkPolicy === "off") return undefined;
  return `--network-policy ${networkPolicy} needs an API server: a file of nodes (--nodes) has no NetworkPolicies`;
}

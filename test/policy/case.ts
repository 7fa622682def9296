/** Cases of truth tables: data. After each step, all endpoints probe each other. */
import type { Action, Json, Labels } from "./scene.ts";

export interface Case {
  readonly group: string;
  readonly name: string;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly title: string;
  readonly actions: (at: Places) => readonly Action[];
}

/** Facts that are known only when the pods are attached. */
export interface Places {
  /** A pod's address. */
  readonly addressOf: (pod: string, family: 4 | 6) => string;
}

export function step(title: string, ...actions: readonly (Action | ((at: Places) => Action))[]): Step {
  return { title, actions: (at) => actions.map((action) => (typeof action === "function" ? action(at) : action)) };
}

export interface PolicyInput {
  /** Default: x. */
  readonly namespace?: string;
  /** Default: policy. */
  readonly name?: string;
  /** The selector of the isolated pods. Default: all pods of the namespace. */
  readonly pods?: Json;
  readonly ingress?: readonly Json[];
  readonly egress?: readonly Json[];
  /** Default: the directions with rules, even if these are empty. */
  readonly policyTypes?: readonly ("Ingress" | "Egress")[];
}

/** A NetworkPolicy as the API server stores it. */
export function policyObject(input: PolicyInput): Json {
  const { namespace = "x", name = "policy", pods = {}, ingress, egress } = input;
  const { policyTypes = [...(ingress === undefined ? [] : ["Ingress"]), ...(egress === undefined ? [] : ["Egress"])] } =
    input;
  return {
    ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace, name } },
    spec: {
      ...{ podSelector: pods, policyTypes },
      ...(ingress !== undefined && { ingress }),
      ...(egress !== undefined && { egress }),
    },
  };
}

export function apply(input: PolicyInput): Action {
  return { do: "apply", policy: policyObject(input) };
}

/** Applies a policy that depends on addresses. */
export function applyAt(make: (at: Places) => PolicyInput): (at: Places) => Action {
  return (at) => apply(make(at));
}

export function removePolicy(name = "policy", namespace = "x"): Action {
  return { do: "remove policy", namespace, name };
}

export function labelPod(pod: string, labels: Labels): Action {
  return { do: "label pod", pod, labels };
}

export function labelNamespace(name: string, labels: Labels): Action {
  return { do: "label namespace", name, labels };
}

export const matching = (labels: Labels): Json => ({ matchLabels: labels });
export const expression = (key: string, operator: string, ...values: string[]): Json => ({
  matchExpressions: [{ key, operator, ...(values.length > 0 && { values }) }],
});

/** Selects the pods with this name. */
export const podNamed = (name: string): Json => matching({ pod: name });
/** Selects the Namespace by the label of this bed. */
export const namespaceNamed = (name: string): Json => matching({ ns: name });

/** An ipBlock of each family with only the addresses of one pod. */
export function blocksOf(at: Places, pod: string): Json[] {
  return [{ ipBlock: { cidr: `${at.addressOf(pod, 4)}/32` } }, { ipBlock: { cidr: `${at.addressOf(pod, 6)}/128` } }];
}

/** An ipBlock of each family around a pod, without the pod's addresses. */
export function blocksAround(at: Places, pod: string, lengths: readonly [four: number, six: number]): Json[] {
  return ([4, 6] as const).map((family, index) => {
    const address = at.addressOf(pod, family);
    return { ipBlock: { cidr: `${address}/${lengths[index]}`, except: [`${address}/${family === 4 ? 32 : 128}`] } };
  });
}

export interface ClusterPolicyInput {
  /** Default: cluster. */
  readonly name?: string;
  /** Default: Admin. */
  readonly tier?: "Admin" | "Baseline";
  /** Default: 10. */
  readonly priority?: number;
  /** Default: all pods of x. */
  readonly subject?: Json;
  readonly ingress?: readonly Json[];
  readonly egress?: readonly Json[];
}

/** Applies a ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2). */
export function applyCluster(input: ClusterPolicyInput): Action {
  const { name = "cluster", tier = "Admin", priority = 10, ingress, egress } = input;
  const { subject = { namespaces: namespaceNamed("x") } } = input;
  const policy = {
    ...{ apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy", metadata: { name } },
    spec: {
      ...{ tier, priority, subject },
      ...(ingress !== undefined && { ingress }),
      ...(egress !== undefined && { egress }),
    },
  };
  return { do: "apply cluster policy", policy };
}

export function removeCluster(name = "cluster"): Action {
  return { do: "remove cluster policy", name };
}

/** Changes of policies, pods and namespaces. Each step is probed. */
import {
  apply,
  applyAt,
  blocksOf,
  type Case,
  expression,
  labelNamespace,
  labelPod,
  matching,
  namespaceNamed,
  podNamed,
  removePolicy,
  step,
} from "../case.ts";
import { basePolicy, generated } from "./base.ts";

const BASE = step("the policy is applied", apply(basePolicy()));
const a = podNamed("a");

const changing = (name: string, ...steps: Parameters<typeof generated>[2][]): Case =>
  generated("actions", name, ...steps);

const POLICIES: readonly Case[] = [
  changing("a policy is created and deleted", BASE, step("the policy is deleted", removePolicy())),
  changing(
    "a policy is created and changed",
    BASE,
    step("ingress allows UDP 81", apply(basePolicy("ingress", { ports: [{ protocol: "UDP", port: "serve-81-udp" }] }))),
    step("egress allows all", apply(basePolicy("egress", { rules: [{}] }))),
  ),
  changing(
    "a policy changes its subject",
    BASE,
    step("all pods of x", apply({ ...basePolicy(), pods: {} })),
    step("x/b and x/c", apply({ ...basePolicy(), pods: expression("pod", "NotIn", "a") })),
  ),
  changing(
    "a policy changes its directions",
    step("ingress alone", apply({ ingress: [{ from: [{ podSelector: {} }] }] })),
    step("egress alone", apply({ egress: [{ to: [{ podSelector: {} }] }] })),
    step("both, with the egress rules of a policy without ingress rules", apply({ ingress: [], egress: [{}] })),
    step("policyTypes leaves egress out", apply({ ingress: [{}], egress: [], policyTypes: ["Ingress"] })),
  ),
  changing(
    "one of two policies of a pod is deleted",
    BASE,
    step("another policy allows all ingress", apply({ name: "open", pods: a, ingress: [{}] })),
    step("the first is deleted", removePolicy()),
    step("the second is deleted", removePolicy("open")),
  ),
  changing(
    "a policy gets an address block, and loses it",
    BASE,
    step(
      "ingress from the addresses of y/a",
      applyAt((at) => basePolicy("ingress", { peers: blocksOf(at, "y/a") })),
    ),
    step("as before", apply(basePolicy())),
  ),
];

const PODS: readonly Case[] = [
  changing(
    "a peer changes its labels",
    step(
      "x/a accepts pods with a label in y and z",
      apply(
        basePolicy("ingress", {
          peers: [{ podSelector: matching({ fresh: "yes" }), namespaceSelector: expression("ns", "In", "y", "z") }],
        }),
      ),
    ),
    step("y/b gets the label", labelPod("y/b", { pod: "b", fresh: "yes" })),
    step(
      "y/b loses the label, z/a gets it",
      labelPod("y/b", { pod: "b" }),
      labelPod("z/a", { pod: "a", fresh: "yes" }),
    ),
  ),
  changing(
    "a subject changes its labels",
    BASE,
    step("x/a becomes another pod, x/b becomes pod a", labelPod("x/a", { pod: "q" }), labelPod("x/b", { pod: "a" })),
    step("both as before", labelPod("x/a", { pod: "a" }), labelPod("x/b", { pod: "b" })),
  ),
  changing(
    "a pod is created and deleted",
    step("x accepts its own pods named d", apply({ ingress: [{ from: [{ podSelector: podNamed("d") }] }] })),
    step("x/d is created", { do: "create pod", pod: "x/d", labels: { pod: "d" } }),
    step("x/d is deleted", { do: "delete pod", pod: "x/d" }),
  ),
  changing(
    "a subject is deleted and created again",
    BASE,
    step("x/a is deleted", { do: "delete pod", pod: "x/a" }),
    step("x/a is created", { do: "create pod", pod: "x/a", labels: { pod: "a" } }),
  ),
  changing(
    "a peer is deleted and created again",
    BASE,
    step("y/b is deleted", { do: "delete pod", pod: "y/b" }),
    step("y/b is created", { do: "create pod", pod: "y/b", labels: { pod: "b" } }),
  ),
  changing(
    "a subject moves to the other node",
    BASE,
    step(
      "x/a is created on n2",
      { do: "delete pod", pod: "x/a" },
      { do: "create pod", pod: "x/a", labels: { pod: "a" }, node: "n2" },
    ),
    step(
      "x/a is created on n1",
      { do: "delete pod", pod: "x/a" },
      { do: "create pod", pod: "x/a", labels: { pod: "a" }, node: "n1" },
    ),
  ),
  changing(
    "pods are replaced by pods with other labels",
    step(
      "x/a accepts pods c of all namespaces",
      apply(basePolicy("ingress", { peers: [{ namespaceSelector: {}, podSelector: podNamed("c") }] })),
    ),
    step(
      "y/c becomes a pod b, y/b a pod c",
      { do: "delete pod", pod: "y/c" },
      { do: "delete pod", pod: "y/b" },
      { do: "create pod", pod: "y/b", labels: { pod: "c" } },
      { do: "create pod", pod: "y/c", labels: { pod: "b" } },
    ),
  ),
];

const NAMESPACES: readonly Case[] = [
  changing(
    "a namespace is created and deleted",
    BASE,
    step(
      "another namespace gets the labels of y, with two pods",
      { do: "create namespace", name: "w", labels: { ns: "y" } },
      { do: "create pod", pod: "w/a", labels: { pod: "a" } },
      { do: "create pod", pod: "w/b", labels: { pod: "b" } },
    ),
    step("the namespace is deleted", { do: "delete namespace", name: "w" }),
  ),
  changing(
    "a namespace changes its labels",
    step(
      "x/a accepts namespaces with a label",
      apply(basePolicy("ingress", { peers: [{ namespaceSelector: matching({ fresh: "yes" }) }] })),
    ),
    step("y gets the label", labelNamespace("y", { ns: "y", fresh: "yes" })),
    step(
      "y loses the label, z gets it",
      labelNamespace("y", { ns: "y" }),
      labelNamespace("z", { ns: "z", fresh: "yes" }),
    ),
  ),
  changing(
    "two namespaces exchange their labels",
    step("x accepts y", apply({ ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }] }] })),
    step("y and z exchange them", labelNamespace("y", { ns: "z" }), labelNamespace("z", { ns: "y" })),
    step("as before", labelNamespace("y", { ns: "y" }), labelNamespace("z", { ns: "z" })),
  ),
  changing(
    "a namespace with a policy is deleted and created again",
    step(
      "pods of a new namespace deny all",
      { do: "create namespace", name: "w", labels: { ns: "w" } },
      {
        ...{ do: "create pod", pod: "w/a", labels: { pod: "a" } },
      },
      apply({ namespace: "w", ingress: [], egress: [] }),
    ),
    step(
      "it is created again without the policy",
      { do: "delete namespace", name: "w" },
      { do: "create namespace", name: "w", labels: { ns: "w" } },
      { do: "create pod", pod: "w/a", labels: { pod: "a" } },
    ),
  ),
];

export const ACTIONS: readonly Case[] = [...POLICIES, ...PODS, ...NAMESPACES];

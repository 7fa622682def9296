/**
 * The behaviours that Kubernetes' own end-to-end tests of NetworkPolicy require (48 tests, Kubernetes 1.36), in our words. A
 * table contains all protocols and ports, so each scenario also checks those that the policy does not mention.
 * Source: https://github.com/kubernetes/kubernetes/blob/v1.36.0/test/e2e/network/netpol/network_policy.go (behaviour only).
 */
import {
  apply,
  applyAt,
  blocksAround,
  blocksOf,
  type Case,
  expression,
  labelNamespace,
  labelPod,
  matching,
  namespaceNamed,
  podNamed,
  removePolicy,
  type Step,
  step,
} from "../case.ts";

const scenario = (name: string, ...steps: readonly Step[]): Case => ({ group: "upstream", name, steps });

/** The label that the API server sets on each Namespace. */
const byDefaultLabel = (name: string) => matching({ "kubernetes.io/metadata.name": name });
const a = podNamed("a");
const tcp = (port: number | string) => ({ protocol: "TCP", port });
const udp = (port: number | string) => ({ protocol: "UDP", port });
const sctp = (port: number | string) => ({ protocol: "SCTP", port });

/** The networks of all pods, large enough to include those of all nodes. */
const LARGE = [16, 48] as const;

const DENY_INGRESS = step("all pods of x are isolated for ingress", apply({ ingress: [] }));
const ONLY_Y_A = step(
  "x/a accepts y/a only",
  apply({ pods: a, ingress: [{ from: [{ namespaceSelector: namespaceNamed("y"), podSelector: a }] }] }),
);

const INGRESS: readonly Case[] = [
  scenario("denies all ingress to a namespace", DENY_INGRESS),
  scenario("denies all traffic of a namespace", step("x denies both directions", apply({ ingress: [], egress: [] }))),
  scenario(
    "allows pods of the same namespace by label",
    step("x/a accepts x/b", apply({ pods: a, ingress: [{ from: [{ podSelector: podNamed("b") }] }] })),
  ),
  scenario(
    "allows ingress to one pod of an isolated namespace",
    step(
      "x denies ingress; another policy opens x/a to all pods",
      apply({ name: "deny", ingress: [] }),
      apply({ name: "open", pods: a, ingress: [{ from: [{ podSelector: {}, namespaceSelector: {} }] }] }),
    ),
  ),
  scenario(
    "allows pods of all namespaces",
    step("x/a accepts all namespaces", apply({ pods: a, ingress: [{ from: [{ namespaceSelector: {} }] }] })),
  ),
  scenario(
    "allows only another namespace",
    step("x/a accepts y", apply({ pods: a, ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }] }] })),
  ),
  scenario(
    "selects pods by expressions",
    step("x/a accepts x/b", apply({ pods: a, ingress: [{ from: [{ podSelector: expression("pod", "In", "b") }] }] })),
  ),
  scenario(
    "selects namespaces by expressions",
    step(
      "x/a accepts y",
      apply({ pods: a, ingress: [{ from: [{ namespaceSelector: expression("ns", "In", "y") }] }] }),
    ),
  ),
  scenario(
    "allows peers that match either of two selectors",
    step(
      "x/a accepts other namespaces, and x/b",
      apply({
        pods: a,
        ingress: [{ from: [{ namespaceSelector: expression("ns", "NotIn", "x") }, { podSelector: podNamed("b") }] }],
      }),
    ),
  ),
  scenario(
    "allows peers that match both selectors of one item",
    step(
      "x/a accepts pods b of other namespaces",
      apply({
        pods: a,
        ingress: [{ from: [{ namespaceSelector: expression("ns", "NotIn", "x"), podSelector: podNamed("b") }] }],
      }),
    ),
  ),
  scenario(
    "allows several pods of several namespaces",
    step(
      "x/a accepts pods b and c of other namespaces",
      apply({
        pods: a,
        ingress: [
          {
            from: [
              {
                namespaceSelector: expression("ns", "NotIn", "x"),
                podSelector: expression("pod", "In", "b", "c"),
              },
            ],
          },
        ],
      }),
    ),
  ),
  scenario(
    "allows pods that match any of several selectors",
    step(
      "x/a accepts x/b and x/c",
      apply({ pods: a, ingress: [{ from: [{ podSelector: podNamed("b") }, { podSelector: podNamed("c") }] }] }),
    ),
  ),
  scenario("allows one pod of another namespace", ONLY_Y_A),
  scenario("allows all ingress by an empty rule", step("x accepts everything", apply({ ingress: [{}] }))),
  scenario(
    "denies ingress from other namespaces",
    step("x accepts its own pods", apply({ ingress: [{ from: [{ podSelector: {} }] }] })),
  ),
  scenario(
    "selects a namespace by the label of its name",
    step("x/a accepts y", apply({ pods: a, ingress: [{ from: [{ namespaceSelector: byDefaultLabel("y") }] }] })),
  ),
];

const PORTS: readonly Case[] = [
  scenario(
    "allows one port",
    step(
      "x/a accepts y at port 81",
      apply({ pods: a, ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [tcp(81)] }] }),
    ),
  ),
  scenario(
    "adds the ports of overlapping policies",
    step(
      "x/a accepts y at port 81",
      apply({ pods: a, ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [tcp(81)] }] }),
    ),
    step(
      "another policy adds port 80",
      apply({
        ...{ name: "second", pods: a },
        ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [tcp(80)] }],
      }),
    ),
  ),
  scenario(
    "allows ingress to a named port",
    step("x accepts serve-81-tcp", apply({ ingress: [{ ports: [{ port: "serve-81-tcp" }] }] })),
  ),
  scenario(
    "allows a namespace at a named port",
    step(
      "x/a accepts y at serve-80-tcp",
      apply({
        pods: a,
        ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [tcp("serve-80-tcp")] }],
      }),
    ),
  ),
  scenario(
    "allows egress to a named port",
    step("x may connect to serve-80-tcp", apply({ egress: [{ ports: [{ port: "serve-80-tcp" }] }] })),
  ),
  scenario(
    "allows all ports of one protocol",
    step("x/a accepts TCP", apply({ pods: a, ingress: [{ ports: [{ protocol: "TCP" }] }] })),
  ),
  scenario(
    "an allow-all policy for ingress overrides one for a port",
    step("x accepts port 80", apply({ ingress: [{ ports: [{ port: 80 }] }] })),
    step("another policy allows all", apply({ name: "open", ingress: [{}] })),
  ),
  scenario(
    "an allow-all policy for egress overrides one for a port",
    step("x may connect to port 80", apply({ egress: [{ ports: [{ port: 80 }] }] })),
    step("another policy allows all", apply({ name: "open", egress: [{}] })),
  ),
  scenario(
    "does not take SCTP for TCP",
    step(
      "x denies ingress; x/a accepts SCTP at port 81",
      apply({ name: "deny", ingress: [] }),
      apply({ name: "sctp", pods: a, ingress: [{ ports: [sctp(81)] }] }),
    ),
  ),
  scenario(
    "isolates a pod whose only rule is for SCTP",
    step("x/a accepts SCTP at port 80", apply({ pods: a, ingress: [{ ports: [sctp(80)] }] })),
  ),
  scenario(
    "does not take UDP for TCP",
    step("x/a accepts UDP at port 81", apply({ pods: a, ingress: [{ ports: [udp(81)] }] })),
  ),
];

const EGRESS: readonly Case[] = [
  scenario("denies egress of one pod", step("x/a is isolated for egress", apply({ pods: a, egress: [] }))),
  scenario("denies egress of a namespace", step("x is isolated for egress", apply({ egress: [] }))),
  scenario(
    "applies ingress and egress rules of one policy",
    step(
      "x/a accepts x/b, and may connect to port 80",
      apply({ pods: a, ingress: [{ from: [{ podSelector: podNamed("b") }] }], egress: [{ ports: [{ port: 80 }] }] }),
    ),
  ),
  scenario(
    "denies by egress what the server's ingress allows",
    step(
      "x/a may connect to y/a; y/a and y/b accept x/a",
      apply({
        ...{ name: "client", pods: a },
        egress: [{ to: [{ namespaceSelector: namespaceNamed("y"), podSelector: a }] }],
      }),
      ...["a", "b"].map((name) =>
        apply({
          ...{ namespace: "y", name: `server-${name}`, pods: podNamed(name) },
          ingress: [{ from: [{ namespaceSelector: namespaceNamed("x"), podSelector: a }] }],
        }),
      ),
    ),
  ),
  scenario(
    "allows egress to one pod of another namespace",
    step(
      "x/a may connect to y/a",
      apply({ pods: a, egress: [{ to: [{ namespaceSelector: namespaceNamed("y"), podSelector: a }] }] }),
    ),
  ),
  scenario(
    "allows egress to an address block",
    step(
      "x/a may connect to the address of y/b",
      applyAt((at) => ({ pods: a, egress: [{ to: blocksOf(at, "y/b") }] })),
    ),
  ),
  scenario(
    "excludes the exceptions of an address block",
    step(
      "x/a may connect to all pods but x/b",
      applyAt((at) => ({ pods: a, egress: [{ to: blocksAround(at, "x/b", LARGE) }] })),
    ),
  ),
  scenario(
    "allows an exception that another block contains",
    step(
      "x/a may connect to all pods but x/b",
      applyAt((at) => ({ pods: a, egress: [{ to: blocksAround(at, "x/b", LARGE) }] })),
    ),
    step(
      "another policy allows x/b",
      applyAt((at) => ({ name: "second", pods: a, egress: [{ to: blocksOf(at, "x/b") }] })),
    ),
    step(
      "the first policy is replaced by one for x/b",
      removePolicy("second"),
      applyAt((at) => ({ pods: a, egress: [{ to: blocksOf(at, "x/b") }] })),
    ),
  ),
  scenario(
    "controls ingress and egress independently",
    step("x/a may connect to everything", apply({ name: "egress", pods: a, egress: [{}] })),
    step("x/a denies ingress", apply({ name: "ingress", pods: a, ingress: [] })),
  ),
  scenario(
    "selects namespaces for egress by an expression on the label of their name",
    step(
      "x/a may connect to all namespaces but y",
      apply({
        pods: a,
        egress: [{ to: [{ namespaceSelector: expression("kubernetes.io/metadata.name", "NotIn", "y") }] }],
      }),
    ),
  ),
];

const CHANGES: readonly Case[] = [
  scenario(
    "enforces a changed policy",
    step("x accepts everything", apply({ ingress: [{}] })),
    step("the policy denies everything", apply({ ingress: [] })),
  ),
  scenario(
    "judges again when the labels of a namespace change",
    step(
      "x/a accepts namespaces with a label that none has",
      apply({ pods: a, ingress: [{ from: [{ namespaceSelector: matching({ ns2: "updated" }) }] }] }),
    ),
    step("y gets the label", labelNamespace("y", { ns: "y", ns2: "updated" })),
    step("y loses the label", labelNamespace("y", { ns: "y" })),
  ),
  scenario(
    "judges again when the labels of a peer change",
    step(
      "x/a accepts pods with a label that none has",
      apply({ pods: a, ingress: [{ from: [{ podSelector: matching({ pod: "b", pod2: "updated" }) }] }] }),
    ),
    step("x/b gets the label", labelPod("x/b", { pod: "b", pod2: "updated" })),
    step("x/b loses the label", labelPod("x/b", { pod: "b" })),
  ),
  scenario(
    "isolates a pod when its labels change",
    step(
      "pods of x with a label are isolated; none has it",
      apply({ pods: matching({ target: "isolated" }), ingress: [] }),
    ),
    step("x/a gets the label", labelPod("x/a", { pod: "a", target: "isolated" })),
    step("x/a loses the label", labelPod("x/a", { pod: "a" })),
  ),
  scenario(
    "ends enforcement when the policy is deleted",
    step("x denies both directions", apply({ ingress: [], egress: [] })),
    step("the policy is deleted", removePolicy()),
  ),
];

/** Upstream repeats three scenarios for UDP and SCTP. */
const OTHER_PROTOCOLS: readonly Case[] = (["UDP", "SCTP"] as const).flatMap((protocol) => [
  scenario(`denies all ingress to a namespace, ${protocol}`, DENY_INGRESS),
  scenario(
    `allows one port, ${protocol}`,
    step(
      `x/a accepts y at ${protocol} port 81`,
      apply({
        pods: a,
        ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [{ protocol, port: 81 }] }],
      }),
    ),
  ),
  scenario(`allows one pod of another namespace, ${protocol}`, ONLY_Y_A),
]);

export const UPSTREAM: readonly Case[] = [...INGRESS, ...PORTS, ...EGRESS, ...CHANGES, ...OTHER_PROTOCOLS];

/** Subjects, rules and namespaces of one policy, and examples with several. */
import { apply, type Case, expression, namespaceNamed, podNamed, step } from "../case.ts";
import type { Json } from "../scene.ts";
import { basePolicy, DIRECTIONS, generated, variation } from "./base.ts";

const SUBJECTS: readonly (readonly [name: string, selector: Json])[] = [
  ["all pods", {}],
  ["pods by label", podNamed("a")],
  ["pods by an expression", expression("pod", "In", "a", "b")],
  ["pods that lack a label", expression("absent", "DoesNotExist")],
  [
    "pods that have a label, but not one value",
    {
      matchExpressions: [
        { key: "pod", operator: "Exists" },
        { key: "pod", operator: "NotIn", values: ["a"] },
      ],
    },
  ],
  ["no pod", podNamed("q")],
];

export const TARGETS: readonly Case[] = [
  ...["x", "y", "z"].map((namespace) =>
    generated(
      "targets",
      `namespace ${namespace}`,
      step("the policy is applied", apply({ ...basePolicy(), namespace })),
    ),
  ),
  ...SUBJECTS.map(([name, pods]) =>
    generated("targets", name, step("the policy is applied", apply({ ...basePolicy(), pods }))),
  ),
];

const sideOf = { ingress: "from", egress: "to" } as const;

export const RULES: readonly Case[] = DIRECTIONS.flatMap((direction) => [
  variation("rules", direction, "no rule", { rules: [] }),
  variation("rules", direction, "an empty rule", { rules: [{}] }),
  variation("rules", direction, "two rules with other peers and ports", {
    rules: [
      { [sideOf[direction]]: [{ podSelector: podNamed("b") }], ports: [{ protocol: "TCP", port: 80 }] },
      { [sideOf[direction]]: [{ namespaceSelector: namespaceNamed("z") }], ports: [{ protocol: "UDP", port: 81 }] },
    ],
  }),
  variation("rules", direction, "two rules with the same port", {
    rules: [
      { [sideOf[direction]]: [{ podSelector: podNamed("b") }], ports: [{ port: 80 }] },
      { [sideOf[direction]]: [{ namespaceSelector: namespaceNamed("y") }], ports: [{ port: 80 }, { port: 81 }] },
    ],
  }),
]);

export const NAMESPACES: readonly Case[] = [
  generated(
    "namespaces",
    "each namespace accepts only itself",
    step(
      "three policies",
      ...["x", "y", "z"].map((namespace) => apply({ namespace, ingress: [{ from: [{ podSelector: {} }] }] })),
    ),
  ),
  generated(
    "namespaces",
    "the same policy in all namespaces",
    step("three policies", ...["x", "y", "z"].map((namespace) => apply({ ...basePolicy(), namespace }))),
  ),
];

export const EXAMPLES: readonly Case[] = [
  generated(
    "examples",
    "three tiers: web accepts all, application accepts web, database accepts application",
    step(
      "all pods are isolated, then opened one by one",
      ...["x", "y", "z"].map((namespace) => apply({ namespace, name: "deny", ingress: [], egress: [{}] })),
      apply({ namespace: "x", name: "web", pods: podNamed("a"), ingress: [{ ports: [{ port: 80 }] }] }),
      apply({
        ...{ namespace: "y", name: "application" },
        ingress: [
          { from: [{ namespaceSelector: namespaceNamed("x"), podSelector: podNamed("a") }], ports: [{ port: 81 }] },
        ],
      }),
      apply({
        ...{ namespace: "z", name: "database" },
        ingress: [{ from: [{ namespaceSelector: namespaceNamed("y") }], ports: [{ port: 80, endPort: 90 }] }],
      }),
    ),
  ),
  generated(
    "examples",
    "egress to name servers only",
    step(
      "x may connect to UDP and TCP 81 of pods c",
      apply({
        egress: [
          {
            to: [{ namespaceSelector: {}, podSelector: podNamed("c") }],
            ports: [
              { protocol: "UDP", port: 81 },
              { protocol: "TCP", port: 81 },
            ],
          },
        ],
      }),
    ),
  ),
];

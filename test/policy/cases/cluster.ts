/**
 * ClusterNetworkPolicy: the behaviours that its conformance tests require (network-policy-api v0.2.0, v1alpha2), in our
 * words: tiers, actions, priorities, subjects, peers, protocols, ports and networks.
 */
import {
  apply,
  applyCluster,
  type Case,
  expression,
  labelNamespace,
  labelPod,
  namespaceNamed,
  type Places,
  podNamed,
  removeCluster,
  removePolicy,
  type Step,
  step,
} from "../case.ts";
import type { Action, Json } from "../scene.ts";
import { DIRECTIONS, type Direction } from "./base.ts";

const cluster = (name: string, ...steps: readonly Step[]): Case => ({ group: "cluster policies", name, steps });

const SIDES = { ingress: "from", egress: "to" } as const;
type RuleAction = "Accept" | "Deny" | "Pass";

/** A rule of a direction. Without protocols, it is for all traffic, ICMP included. */
function rule(direction: Direction, action: RuleAction, peers: readonly Json[], protocols?: readonly Json[]): Json {
  return { action, [SIDES[direction]]: peers, ...(protocols && { protocols }) };
}

const namespace = (name: string): Json => ({ namespaces: namespaceNamed(name) });
const ALL: Json = { namespaces: {} };
const pods = (name: string, podName: string): Json => ({
  pods: { namespaceSelector: namespaceNamed(name), podSelector: podNamed(podName) },
});
const port = (protocol: string, number: number): Json => ({ [protocol]: { destinationPort: { number } } });
const range = (protocol: string, start: number, end: number): Json => ({
  [protocol]: { destinationPort: { range: { start, end } } },
});

const networks = (at: Places, pod: string, lengths: readonly [number, number]): Json => ({
  networks: ([4, 6] as const).map((family, index) => {
    const address = at.addressOf(pod, family);
    return family === 4 && lengths[index] === 24
      ? `${address.replace(/\.\d+$/, ".0")}/24`
      : `${lengths[index] === 64 ? address.replace(/::.*$/, "::") : address}/${lengths[index]}`;
  }),
});
const SUBNET = [24, 64] as const;
const HOST = [32, 128] as const;

const ACTIONS_IN_ORDER: readonly Case[] = DIRECTIONS.flatMap((direction) => {
  const admin = (...rules: readonly Json[]): Action => applyCluster({ [direction]: rules });
  const baseline = (...rules: readonly Json[]): Action =>
    applyCluster({ name: "default", tier: "Baseline", [direction]: rules });
  const of = (action: RuleAction, ...peers: readonly Json[]) => rule(direction, action, peers);
  return [
    cluster(`${direction}: an Admin rule denies a namespace`, step("Deny y", admin(of("Deny", namespace("y"))))),
    cluster(
      `${direction}: the first Admin rule that matches decides`,
      step("Accept y, then Deny all", admin(of("Accept", namespace("y")), of("Deny", ALL))),
      step("Deny all, then Accept y", admin(of("Deny", ALL), of("Accept", namespace("y")))),
    ),
    cluster(
      `${direction}: Pass leaves the tier`,
      step("Pass y, then Deny all", admin(of("Pass", namespace("y")), of("Deny", ALL))),
      step("the Baseline tier denies y", baseline(of("Deny", namespace("y")))),
      step("a NetworkPolicy allows all, and the Baseline tier does not count", apply({ [direction]: [{}] })),
      step("a NetworkPolicy allows nothing", apply({ [direction]: [] })),
    ),
    cluster(
      `${direction}: Accept of the Admin tier overrides a NetworkPolicy`,
      step("a NetworkPolicy allows nothing", apply({ [direction]: [] })),
      step("Accept y", admin(of("Accept", namespace("y")))),
      step("the Admin policy is deleted", removeCluster()),
    ),
    cluster(
      `${direction}: Deny of the Admin tier overrides a NetworkPolicy`,
      step("a NetworkPolicy allows all", apply({ [direction]: [{}] })),
      step("Deny pods b of z", admin(of("Deny", pods("z", "b")))),
    ),
    cluster(
      `${direction}: Baseline rules are the default`,
      step("Accept y, then Deny all", baseline(of("Accept", namespace("y")), of("Deny", ALL))),
      step(
        "a NetworkPolicy of x/a allows z",
        apply({
          pods: podNamed("a"),
          [direction]: [{ [SIDES[direction]]: [{ namespaceSelector: namespaceNamed("z") }] }],
        }),
      ),
      step("the NetworkPolicy is deleted", removePolicy()),
      step("the Baseline policy is deleted", removeCluster("default")),
    ),
    cluster(
      `${direction}: all three tiers`,
      step(
        "Admin denies y and passes z; a NetworkPolicy allows z; Baseline denies all",
        admin(of("Deny", namespace("y")), of("Pass", namespace("z"))),
        apply({
          pods: podNamed("a"),
          [direction]: [{ [SIDES[direction]]: [{ namespaceSelector: namespaceNamed("z") }] }],
        }),
        baseline(of("Deny", ALL)),
      ),
      step("without the Admin policy", removeCluster()),
      step("without the NetworkPolicy", removePolicy()),
    ),
    cluster(
      `${direction}: a lower number of priority comes first`,
      step(
        "Accept y at 5, Deny all at 20",
        applyCluster({ name: "accept", priority: 5, [direction]: [of("Accept", namespace("y"))] }),
        applyCluster({ name: "deny", priority: 20, [direction]: [of("Deny", ALL)] }),
      ),
      step("Deny all at 1", applyCluster({ name: "deny", priority: 1, [direction]: [of("Deny", ALL)] })),
      step("Accept y at 0", applyCluster({ name: "accept", priority: 0, [direction]: [of("Accept", namespace("y"))] })),
    ),
    cluster(
      `${direction}: a rule with ports leaves other ports and protocols`,
      ...["tcp", "udp", "sctp"].map((protocol) =>
        step(`Deny ${protocol} 80`, admin(rule(direction, "Deny", [ALL], [port(protocol, 80)]))),
      ),
    ),
    cluster(
      `${direction}: several protocols, ranges, and a named port`,
      step(
        "Accept TCP 80 and UDP 81, then Deny all",
        admin(rule(direction, "Accept", [ALL], [port("tcp", 80), port("udp", 81)]), of("Deny", ALL)),
      ),
      step("Deny SCTP 81 to 90", admin(rule(direction, "Deny", [ALL], [range("sctp", 81, 90)]))),
      step("Deny UDP", admin(rule(direction, "Deny", [ALL], [{ udp: {} }]))),
      step("Deny the port web", admin(rule(direction, "Deny", [ALL], [{ destinationNamedPort: "web" }]))),
    ),
    cluster(
      `${direction}: the subject is a set of pods`,
      step(
        "Deny all, for pods b and c of x and y",
        applyCluster({
          subject: {
            pods: { namespaceSelector: expression("ns", "In", "x", "y"), podSelector: expression("pod", "NotIn", "a") },
          },
          [direction]: [of("Deny", ALL)],
        }),
      ),
      step("x/b becomes a pod a", labelPod("x/b", { pod: "a" })),
      step("y is no longer selected", labelNamespace("y", { ns: "other" })),
    ),
    cluster(
      `${direction}: tiers of all pods`,
      step(
        "Deny y, for all namespaces; Baseline denies all but x",
        applyCluster({ subject: ALL, [direction]: [of("Deny", namespace("y"))] }),
        applyCluster({
          ...{ name: "default", tier: "Baseline", subject: ALL },
          [direction]: [of("Accept", namespace("x")), of("Deny", ALL)],
        }),
      ),
    ),
  ];
});

const OTHERS: readonly Case[] = [
  cluster(
    "Accept of egress does not replace ingress at the destination",
    step(
      "x may connect to all; y accepts nothing",
      applyCluster({ egress: [rule("egress", "Accept", [ALL])] }),
      apply({ namespace: "y", ingress: [] }),
    ),
  ),
  cluster("networks of the Admin tier, ICMP included", {
    title: "Deny the subnet of z/c, except for its address",
    actions: (at) => [
      applyCluster({
        egress: [
          rule("egress", "Accept", [networks(at, "z/c", HOST)]),
          rule("egress", "Deny", [networks(at, "z/c", SUBNET)]),
        ],
      }),
    ],
  }),
  cluster("networks of the Baseline tier", {
    title: "Deny the address of y/a at TCP 80, Accept the rest of its subnet, Deny all pods",
    actions: (at) => [
      applyCluster({
        tier: "Baseline",
        egress: [
          rule("egress", "Deny", [networks(at, "y/a", HOST)], [port("tcp", 80)]),
          rule("egress", "Accept", [networks(at, "y/a", SUBNET)]),
          rule("egress", "Deny", [ALL]),
        ],
      }),
    ],
  }),
  cluster("networks and pods in one rule", {
    title: "Deny y/b by its address and z by its label; a NetworkPolicy allows pods c",
    actions: (at) => [
      applyCluster({ egress: [rule("egress", "Deny", [networks(at, "y/b", HOST), namespace("z")])] }),
      apply({ egress: [{ to: [{ namespaceSelector: {}, podSelector: podNamed("c") }] }] }),
    ],
  }),
];

export const CLUSTER: readonly Case[] = [...ACTIONS_IN_ORDER, ...OTHERS];

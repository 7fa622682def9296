/** The policy that generated cases vary in one direction. The other direction and the other fields stay. */
import { apply, type Case, expression, type Places, type PolicyInput, podNamed, type Step, step } from "../case.ts";
import type { Action, Json } from "../scene.ts";

export type Direction = "ingress" | "egress";
export const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];

const SIDES = { ingress: "from", egress: "to" } as const;

/** Pods b and c of namespaces y and z. */
const OTHERS: readonly Json[] = [
  { namespaceSelector: expression("ns", "In", "y", "z"), podSelector: expression("pod", "In", "b", "c") },
];
const PORTS: readonly Json[] = [{ protocol: "TCP", port: 80 }];

/** The variations of a case. Fields that are absent are those of the base policy. */
export interface Variation {
  readonly peers?: readonly Json[];
  readonly ports?: readonly Json[];
  readonly rules?: readonly Json[];
}

/** x/a accepts pods b and c of y and z at TCP port 80, and may connect to them, except for what `varied` changes. */
export function basePolicy(direction: Direction = "ingress", varied: Variation = {}): PolicyInput {
  const rulesOf = (one: Direction): readonly Json[] => {
    const { peers = OTHERS, ports = PORTS, rules } = one === direction ? varied : {};
    return rules ?? [{ [SIDES[one]]: peers, ports }];
  };
  return { pods: podNamed("a"), ingress: rulesOf("ingress"), egress: rulesOf("egress") };
}

export function generated(group: string, name: string, ...steps: readonly Step[]): Case {
  return { group, name, steps };
}

/** A case with one policy, a variation of the base policy in one direction. */
export function variation(
  group: string,
  direction: Direction,
  name: string,
  varied: Variation | ((at: Places) => Variation),
): Case {
  const action = (at: Places): Action =>
    apply(basePolicy(direction, typeof varied === "function" ? varied(at) : varied));
  return generated(group, `${direction}: ${name}`, step("the policy is applied", action));
}

/** All pairs of two different items, in order. */
export function pairs<T>(items: readonly T[]): (readonly [T, T])[] {
  return items.flatMap((one, at) => items.slice(at + 1).map((other) => [one, other] as const));
}

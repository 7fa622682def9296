/** Policies of which one allows what another does not, at the same pod or at the two ends of a connection. */
import { apply, type Case, matching, podNamed, step } from "../case.ts";
import type { Action, Json } from "../scene.ts";
import { DIRECTIONS, type Direction, generated } from "./base.ts";

/** The client is x/b, the server y/c. */
const CLIENT = { namespace: "x", pods: podNamed("b") };
const SERVER = { namespace: "y", pods: podNamed("c") };

interface Form {
  readonly name: string;
  readonly rules: (side: "from" | "to") => readonly Json[];
}

const DENY: Form = { name: "denies all", rules: () => [] };
const ALLOW: Form = { name: "allows all", rules: () => [{}] };
const ALLOW_PODS: Form = { name: "allows all pods", rules: (side) => [{ [side]: [{ namespaceSelector: {} }] }] };
const ALLOW_ADDRESSES: Form = {
  name: "allows all addresses",
  rules: (side) => [{ [side]: [{ ipBlock: { cidr: "0.0.0.0/0" } }, { ipBlock: { cidr: "::/0" } }] }],
};
const ALLOW_FOUR: Form = {
  name: "allows all IPv4 addresses",
  rules: (side) => [{ [side]: [{ ipBlock: { cidr: "0.0.0.0/0" } }] }],
};
const NO_ADDRESS: Form = {
  name: "allows addresses that do not exist",
  rules: (side) => [{ [side]: [{ ipBlock: { cidr: "192.0.2.254/31" } }, { ipBlock: { cidr: "2001:db8:f::/127" } }] }],
};
const NO_POD: Form = {
  name: "allows pods that do not exist",
  rules: (side) => [{ [side]: [{ namespaceSelector: matching({ absent: "always" }) }] }],
};

const subjectOf = (direction: Direction) => (direction === "egress" ? CLIENT : SERVER);

function policy(direction: Direction, { name, rules }: Form): Action {
  const policyName = name.replaceAll(" ", "-").toLowerCase();
  const list = rules(direction === "egress" ? "to" : "from");
  return apply({ ...subjectOf(direction), name: policyName, [direction]: list });
}

const both = (egress: Form, ingress: Form): Case =>
  generated(
    "conflicts",
    `the client's policy ${egress.name}, the server's ${ingress.name}`,
    step("both are applied", policy("egress", egress), policy("ingress", ingress)),
  );

/** Pairs at one pod. The order of creation must not matter, so the second comes in a step of its own. */
const LAYERS: readonly (readonly [Form, Form])[] = [
  [DENY, ALLOW],
  [DENY, ALLOW_PODS],
  [DENY, ALLOW_ADDRESSES],
  [DENY, ALLOW_FOUR],
  [NO_ADDRESS, ALLOW_PODS],
  [NO_POD, ALLOW_ADDRESSES],
];

export const CONFLICTS: readonly Case[] = [
  both(DENY, ALLOW),
  both(ALLOW, DENY),
  both(NO_POD, ALLOW_ADDRESSES),
  both(ALLOW_ADDRESSES, ALLOW_PODS),
  ...DIRECTIONS.flatMap((direction) => [
    ...LAYERS.map(([one, other]) =>
      generated(
        "conflicts",
        `${direction}: one policy ${one.name}, another ${other.name}`,
        step(`the first ${one.name}`, policy(direction, one)),
        step(`the second ${other.name}`, policy(direction, other)),
      ),
    ),
    ...[NO_ADDRESS, NO_POD].map((form) =>
      generated(
        "conflicts",
        `${direction}: the only policy ${form.name}`,
        step("it is applied", policy(direction, form)),
      ),
    ),
  ]),
];

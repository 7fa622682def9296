/** All forms of ports and protocols: alone, in pairs, as ranges, and with a name that pods resolve differently. */
import type { Case } from "../case.ts";
import type { Json } from "../scene.ts";
import { DIRECTIONS, pairs, variation } from "./base.ts";

interface Form {
  readonly name: string;
  readonly port: Json;
}

const PROTOCOLS = [undefined, "TCP", "UDP", "SCTP"] as const;

const FORMS: readonly Form[] = PROTOCOLS.flatMap((protocol) =>
  [undefined, 81, `serve-81-${(protocol ?? "TCP").toLowerCase()}`].map((port) => ({
    name: `${protocol ?? "no protocol"} ${port ?? "any port"}`,
    port: { ...(protocol !== undefined && { protocol }), ...(port !== undefined && { port }) },
  })),
);

/** A name of another protocol, and names that not every pod has. */
const NAMES: readonly Form[] = [
  { name: "the name of a TCP port with protocol UDP", port: { protocol: "UDP", port: "serve-81-tcp" } },
  { name: "a name with another number in each namespace", port: { protocol: "TCP", port: "web" } },
  { name: "a name that only pods of z have with UDP", port: { protocol: "UDP", port: "web" } },
  { name: "a name that no pod has", port: { protocol: "TCP", port: "absent" } },
];

const RANGES: readonly Form[] = [
  ...([
    ["TCP", 80, 81],
    ["TCP", 81, 90],
    ["TCP", 1, 65_535],
    ["TCP", 82, 90],
    ["UDP", 79, 80],
    ["SCTP", 80, 80],
  ] as const),
].map(([protocol, port, endPort]) => ({
  name: `${protocol} ${port} to ${endPort}`,
  port: { protocol, port, endPort },
}));

/** Ranges beside single ports, so that one set of ports has both. */
const MIXED: readonly (readonly Form[])[] = [
  [RANGES[1] as Form, { name: "TCP 80", port: { protocol: "TCP", port: 80 } }],
  [RANGES[2] as Form, { name: "UDP 81", port: { protocol: "UDP", port: 81 } }],
  [RANGES[4] as Form, { name: "SCTP any port", port: { protocol: "SCTP" } }],
];

const nameOf = (forms: readonly Form[]) => forms.map(({ name }) => name).join("; ");

export const PORTS: readonly Case[] = DIRECTIONS.flatMap((direction) =>
  [[], ...[...FORMS, ...NAMES, ...RANGES].map((form) => [form]), ...pairs(FORMS), ...MIXED].map((forms) =>
    variation("ports", direction, nameOf(forms) || "any port and protocol", {
      // Any peer: the base policy's peers would hide most of the table.
      ...{ peers: [], ports: forms.map(({ port }) => port) },
    }),
  ),
);

/** Truth tables: which endpoint reaches which, by family, protocol and port. */
import { isAllowed, type World } from "./oracle.ts";
import type { Addresses, NodeName } from "./scene.ts";

/** A pod or node that sends and receives probes. */
export interface Endpoint {
  /** "x/a" or "n1". */
  readonly name: string;
  readonly kind: "pod" | "node";
  readonly node: NodeName;
  /** The addresses at which probes reach it. */
  readonly addresses: Addresses;
  /** The source address of a node's packets, by destination node and family. Pods use their address. */
  readonly sources?: Readonly<Record<NodeName, Addresses>>;
}

export interface ProbeClass {
  readonly family: 4 | 6;
  readonly protocol: "TCP" | "UDP" | "SCTP" | "ICMP";
  /** 0 for ICMP. */
  readonly port: number;
}

/** In the order in which the prober numbers them. */
export const CLASSES: readonly ProbeClass[] = ([4, 6] as const).flatMap((family) => [
  ...(["TCP", "UDP", "SCTP"] as const).flatMap((protocol) => [80, 81].map((port) => ({ family, protocol, port }))),
  { family, protocol: "ICMP" as const, port: 0 },
]);

/** The result of one probe: "-" is none. */
export type Expected = "-" | "0" | "1";

/**
 * A result of the prober: "-" no probe, "0" nothing arrived, "1" the first packet arrived but no reply, "2" the reply
 * arrived.
 */
export type Result = "-" | "0" | "1" | "2";

/**
 * Returns the expected fate of each probe, one character each, in the order of the prober. `isReachable` is the rule for two
 * endpoints in the place of the specification, in tests of the prober. `by`: the addresses that probes are sent to.
 */
export function expectedTable(
  endpoints: readonly (Endpoint | undefined)[],
  isReachable: (from: Endpoint, to: Endpoint, probe: ProbeClass) => boolean,
  by: "address" | "service" = "address",
): string {
  let table = "";
  for (const probe of CLASSES) {
    for (const from of endpoints) {
      for (const to of endpoints) {
        if (from === undefined || to === undefined || !isProbed(from, to, probe, by)) table += "-";
        else table += isReachable(from, to, probe) ? "1" : "0";
      }
    }
  }
  return table;
}

/**
 * Nodes do not probe nodes. Pods probe only their own node: packets to others have the node's address as their source. Probes
 * by Services are those between different pods: other packets get a node's address as their source, and Services have no ICMP.
 */
function isProbed(from: Endpoint, to: Endpoint, { protocol }: ProbeClass, by: "address" | "service"): boolean {
  if (by === "service") return from.kind === "pod" && to.kind === "pod" && from !== to && protocol !== "ICMP";
  return to.kind === "pod" || (from.kind === "pod" && from.node === to.node);
}

/** The rule of the specification. A pod's own node and the pod itself always reach it. */
export function specified(world: World): (from: Endpoint, to: Endpoint, probe: ProbeClass) => boolean {
  return (from, to, { family, protocol, port }) => {
    if (from === to || (from.kind === "node" && from.node === to.node)) return true;
    const source = from.sources?.[to.node][family] ?? from.addresses[family];
    return isAllowed(world, { from: source, to: to.addresses[family], protocol, port });
  };
}

export interface Mismatch {
  /** The index of the probe in the table. */
  readonly at: number;
  readonly from: string;
  readonly to: string;
  readonly probe: ProbeClass;
  readonly expected: Expected;
  readonly result: Result;
}

/** The probes whose result differs from the expected one. */
export function mismatches(
  endpoints: readonly (Endpoint | undefined)[],
  expected: string,
  results: string,
): Mismatch[] {
  const size = endpoints.length;
  const found: Mismatch[] = [];
  for (let at = 0; at < expected.length; at++) {
    const [wanted, result] = [expected[at] as Expected, results[at] as Result];
    if (wanted === "-" || result === (wanted === "1" ? "2" : "0")) continue;
    found.push({
      at,
      from: endpoints[Math.floor(at / size) % size]?.name ?? "?",
      to: endpoints[at % size]?.name ?? "?",
      probe: CLASSES[Math.floor(at / (size * size))] as ProbeClass,
      ...{ expected: wanted, result },
    });
  }
  return found;
}

const SIGNS: Readonly<Record<string, string>> = {
  ...{ "--": "  ", "00": " x", "12": " .", "01": "L!", "02": "L!", "10": "D!", "11": "R!" },
};

/** Rows are sources, columns are destinations. */
const LEGEND =
  ". allowed   x denied   D! denied, but must be allowed   L! allowed, but must be denied   R! the reply is lost";

/** The classes with mismatches, each as a matrix of all endpoints. Classes with the same matrix are printed once. */
export function describeTable(endpoints: readonly (Endpoint | undefined)[], expected: string, results: string): string {
  const size = endpoints.length;
  const present = endpoints.flatMap((endpoint, at) => (endpoint === undefined ? [] : [{ at, name: endpoint.name }]));
  const width = Math.max(...present.map(({ name }) => name.length));
  const matrices = new Map<string, string[]>();
  for (const [number, { family, protocol, port }] of CLASSES.entries()) {
    const signOf = (from: number, to: number) => {
      const at = (number * size + from) * size + to;
      return SIGNS[`${expected[at]}${results[at]}`] ?? "??";
    };
    const rows = present.map(({ at, name }) =>
      [name.padStart(width), ...present.map((to) => signOf(at, to.at).padStart(width))].join(" "),
    );
    const matrix = rows.join("\n");
    if (!/[!?]/.test(matrix)) continue;
    const label = `IPv${family} ${protocol}${protocol === "ICMP" ? "" : ` ${port}`}`;
    matrices.set(matrix, [...(matrices.get(matrix) ?? []), label]);
  }
  const header = [" ".repeat(width), ...present.map(({ name }) => name.padStart(width))].join(" ");
  return [
    LEGEND,
    ...[...matrices].map(([matrix, labels]) => `${labels.join(", ")}, from row to column:\n${header}\n${matrix}`),
  ].join("\n");
}

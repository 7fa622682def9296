/** Formats Services as rows of a table: their frontends, frontends that other Services have, and endpoints. Pure. */
import { type PageEndpoint, type Place, placeText } from "../node/services-page.ts";
import type { Block, Cell } from "../outcome.ts";
import type { SeenFrontend, SeenService } from "./sight.ts";

export const HEAD = ["SERVICE", "ADDRESS", "KIND", "POLICY", "ENDPOINTS", "CONNECTIONS", ""] as const;

export interface RowOptions {
  /** True if endpoints have rows, too. */
  readonly hasEndpoints: boolean;
}

export function servicesTable(services: readonly SeenService[], options: RowOptions): Block {
  return { kind: "table", head: HEAD, rows: services.flatMap((service) => rowsOf(service, options)) };
}

function rowsOf(service: SeenService, { hasEndpoints }: RowOptions): Cell[][] {
  const { frontends, lost = [], refused = [], problems = [], endpoints = [] } = service;
  const rows = [
    ...frontends.map(frontendRow),
    ...lost.map((claim) => refusedRow(claim, `lost: ${claim.winner} has it as its ${claim.winnerKind}`)),
    ...refused.map((claim) => refusedRow(claim, `refused: ${claim.reason}`)),
    ...problems.map((problem): Cell[] => ["", "", "", "", "", "", { text: problem, tone: "warning" }]),
    ...(hasEndpoints ? endpointRows(service, endpoints) : []),
  ];
  if (rows.length === 0) rows.push(["", { text: "none", tone: "quiet" }, "", "", "", "", ""]);
  // Only the first row of a Service has its name.
  return rows.map(([, ...rest], at): Cell[] => [at === 0 ? { text: service.service, tone: "strong" } : "", ...rest]);
}

function frontendRow(frontend: SeenFrontend): Cell[] {
  const { kind, policy, connections, withoutEndpoint, affinitySeconds, allowedSources, portName = "" } = frontend;
  const notes = [
    portName,
    withoutEndpoint === undefined ? "" : `no endpoint: new connections are ${REFUSED[withoutEndpoint]}`,
    affinitySeconds === undefined ? "" : `a client keeps its endpoint for ${affinitySeconds} s`,
    allowedSources === undefined ? "" : `from ${allowedSources.join(", ")} only`,
    connections === null ? "not in the kernel" : "",
  ].filter((note) => note !== "");
  const isBad = withoutEndpoint !== undefined || connections === null;
  return [
    "",
    placeText(frontend),
    kind,
    policy,
    endpointCount(frontend),
    connections === null ? { text: "-", tone: "quiet" } : String(connections),
    isBad ? { text: notes.join("; "), tone: "warning" } : notes.join("; "),
  ];
}

const REFUSED = { reject: "rejected", drop: "dropped" } as const;

/** For policy Local, the endpoints on this node come first, since only they get connections from other hosts. */
function endpointCount({ policy, endpoints = [], localEndpoints = [] }: SeenFrontend): Cell {
  const text = policy === "local" ? `${localEndpoints.length} of ${endpoints.length}` : String(endpoints.length);
  return endpoints.length + localEndpoints.length === 0 ? { text, tone: "warning" } : text;
}

function refusedRow(place: Place, why: string): Cell[] {
  return ["", placeText(place), place.kind, "", "", "", { text: why, tone: "warning" }];
}

function endpointRows({ frontends }: SeenService, told: readonly PageEndpoint[]): Cell[][] {
  // Without weftd, only the kernel's endpoints are known.
  if (told.length === 0) {
    const held = new Set(
      frontends.flatMap(({ endpoints = [], localEndpoints = [] }) => [...endpoints, ...localEndpoints]),
    );
    return [...held].map((target): Cell[] => [
      "",
      `  ${target}`,
      "endpoint",
      { text: "used", tone: "good" },
      "",
      "",
      "",
    ]);
  }
  return told.map(({ target, protocol, isUsed, verdict, pod = "", nodeName = "", portName = "" }): Cell[] => {
    const where = [portName, pod, nodeName === "" ? "" : `on ${nodeName}`].filter((part) => part !== "").join(" ");
    const why = verdict === "used" ? "" : verdict;
    const text = [why, where].filter((part) => part !== "").join("; ");
    return [
      ...["", `  ${target}/${protocol.toLowerCase()}`, "endpoint"],
      isUsed ? { text: "used", tone: "good" } : { text: "not used", tone: "quiet" },
      ...["", "", text],
    ];
  });
}

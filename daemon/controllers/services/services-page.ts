/**
 * The answer of /debug/services: how this node serves each Service, and why. `?service=NAMESPACE/NAME` selects one,
 * `?namespace=NAMESPACE` those of a namespace. The fields must keep their names, because `weft services` reads them.
 * Empty lists and absent values are omitted.
 */
import { type Address, formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix } from "../../../pkg/ip/prefix.ts";
import type { Frontend, NodeSettings } from "../../../pkg/services/frontend.ts";
import type { NodeFacts } from "../../../pkg/services/node-facts.ts";
import type { ServiceMap } from "../../../pkg/services/service-map.ts";
import type { EndpointReport, ServiceReport } from "../../../pkg/services/service-report.ts";

/** The state of all Services together. Also in /debug/state. */
export interface ServicesState {
  readonly mode: string;
  /** False while another program serves Services. */
  readonly isOurs: boolean;
  /** True once all Services and EndpointSlices have been listed. */
  readonly isSynced: boolean;
  /** Why the programmed state may be outdated. */
  readonly warnings: readonly string[];
  /** Why everything must be compared with the kernel. */
  readonly doubts: readonly string[];
  readonly counts: { readonly services: number; readonly frontends: number; readonly endpoints: number };
  readonly lastSync?: {
    readonly kind: string;
    readonly agoMs: number;
    readonly durationMs: number;
    readonly transactions?: number;
    readonly requests?: number;
    readonly error?: string;
  };
}

export interface PageParts {
  readonly map: Pick<ServiceMap, "services" | "report">;
  readonly state: ServicesState;
  readonly node: NodeFacts | undefined;
  readonly settings: NodeSettings | undefined;
}

/** The number of Services in one piece of the page: some milliseconds of work. */
const PIECE = 100;

/** Yields JSON in pieces, because the page of 10,000 Services is ten megabytes. */
export function* servicesPage({ map, state, node, settings }: PageParts, query: URLSearchParams): Iterable<string> {
  const [service, namespace] = [query.get("service"), query.get("namespace")];
  const keys = service !== null ? [service] : map.services();
  const wanted = namespace === null ? keys : keys.filter((key) => key.startsWith(`${namespace}/`));
  const head = JSON.stringify({ state, ...(node && settings && { node: nodeOf(node, settings) }) });
  yield `${head.slice(0, -1)},"services":[`;
  let separator = "";
  for (const some of piecesOf(wanted.sort())) {
    const texts = some.flatMap((key) => serviceOf(map.report(key))).map((one) => JSON.stringify(one));
    if (texts.length === 0) continue;
    yield separator + texts.join(",");
    separator = ",";
  }
  yield "]}\n";
}

function* piecesOf<T>(all: readonly T[]): Iterable<readonly T[]> {
  for (let at = 0; at < all.length; at += PIECE) yield all.slice(at, at + PIECE);
}

function nodeOf({ name, zone, nodePortAddresses, externalIPs }: NodeFacts, settings: NodeSettings): object {
  const { localPods, serviceRanges, masqueradeAll, masqueradeBit } = settings;
  return {
    ...{ name, zone },
    nodePortAddresses: nodePortAddresses.map(formatAddress),
    externalIPs: typeof externalIPs === "string" ? externalIPs : externalIPs.map(formatPrefix),
    localPods: localPods.map(formatPrefix),
    serviceRanges: serviceRanges.map(formatPrefix),
    ...{ masqueradeAll, masqueradeBit },
  };
}

function serviceOf(report: ServiceReport | undefined): object[] {
  if (report === undefined) return [];
  const { service, type, frontends, lost, refused, endpoints, problems } = report;
  const one = {
    ...{ service, type },
    frontends: frontends.map(frontendOf),
    lost: lost.map(({ frontend, winner }) => ({
      ...placeOf(frontend),
      winner: winner.service,
      winnerKind: winner.kind,
    })),
    refused: refused.map(({ reason, ...place }) => ({ ...placeOf(place), reason })),
    endpoints: endpoints.map(endpointOf),
    problems,
  };
  return [withoutEmpty(one)];
}

function frontendOf(frontend: Frontend): object {
  const { portName, policy, endpoints, localEndpoints, withoutEndpoint, allowedSources, affinity } = frontend;
  return withoutEmpty({
    ...placeOf(frontend),
    ...{ portName, policy },
    endpoints: endpoints.map(targetText),
    localEndpoints: localEndpoints.map(targetText),
    withoutEndpoint,
    allowedSources: allowedSources?.map(formatPrefix),
    affinitySeconds: affinity?.seconds,
  });
}

function endpointOf({
  portName,
  protocol,
  isLocal,
  nodeName,
  pod,
  isUsed,
  verdict,
  ...target
}: EndpointReport): object {
  return withoutEmpty({
    target: targetText(target),
    ...{ portName, protocol: PROTOCOL_NAMES[protocol] },
    ...{ isLocal, nodeName, pod, isUsed, verdict },
  });
}

const PROTOCOL_NAMES = { 6: "TCP", 17: "UDP", 132: "SCTP" } as const;

function placeOf({ kind, address, protocol, port }: Pick<Frontend, "kind" | "address" | "protocol" | "port">): object {
  return { kind, address: formatAddress(address), protocol: PROTOCOL_NAMES[protocol], port };
}

/** Formats as "10.244.1.2:8080" or "[fd00::2]:8080". */
function targetText({ address, port }: { readonly address: Address; readonly port: number }): string {
  const text = formatAddress(address);
  return `${address.family === 6 ? `[${text}]` : text}:${port}`;
}

function withoutEmpty(fields: { readonly [name: string]: unknown }): object {
  const isEmpty = (value: unknown) =>
    value === undefined || value === "" || (Array.isArray(value) && value.length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value)));
}

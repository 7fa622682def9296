/** weftd's report of Services at /debug/services (daemon/controllers/services/services-page.ts). */
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { askWeftd } from "./weftd.ts";

export type ProtocolWord = "TCP" | "UDP" | "SCTP";

/** The address of a frontend. Empty lists and unset fields are absent. */
export interface Place {
  readonly kind: string;
  readonly address: string;
  readonly protocol: ProtocolWord;
  readonly port: number;
}

export interface PageFrontend extends Place {
  readonly portName?: string;
  readonly policy: "internal" | "cluster" | "local";
  /** "10.244.1.2:8080" */
  readonly endpoints?: readonly string[];
  readonly localEndpoints?: readonly string[];
  readonly withoutEndpoint?: "reject" | "drop";
  readonly allowedSources?: readonly string[];
  readonly affinitySeconds?: number;
}

export interface PageEndpoint {
  readonly target: string;
  readonly protocol: ProtocolWord;
  readonly portName?: string;
  readonly isLocal: boolean;
  readonly nodeName?: string;
  readonly pod?: string;
  readonly isUsed: boolean;
  readonly verdict: string;
}

export interface PageService {
  readonly service: string;
  readonly type?: string;
  readonly frontends?: readonly PageFrontend[];
  readonly lost?: readonly (Place & { readonly winner: string; readonly winnerKind: string })[];
  readonly refused?: readonly (Place & { readonly reason: string })[];
  readonly endpoints?: readonly PageEndpoint[];
  readonly problems?: readonly string[];
}

export interface PageState {
  readonly mode: string;
  readonly isOurs: boolean;
  readonly isSynced: boolean;
  readonly warnings: readonly string[];
  readonly counts: { readonly services: number; readonly frontends: number; readonly endpoints: number };
  readonly lastSync?: { readonly agoMs: number; readonly durationMs: number; readonly error?: string };
}

export interface PageNode {
  readonly name: string;
  readonly zone?: string;
  readonly nodePortAddresses: readonly string[];
  readonly externalIPs: "all" | "none" | readonly string[];
  readonly localPods: readonly string[];
  readonly serviceRanges: readonly string[];
  readonly masqueradeAll: boolean;
  readonly masqueradeBit: number;
}

export interface ServicesPage {
  readonly state: PageState;
  /** Absent if weftd does not know its Node yet. */
  readonly node?: PageNode;
  readonly services: readonly PageService[];
}

export type ServicesAnswer =
  | { readonly is: "answered"; readonly page: ServicesPage }
  /** weftd runs, and another program serves Services (--service-proxy none). */
  | { readonly is: "not ours" }
  | { readonly is: "silent"; readonly reason: string };

/** weftd computes the page for 10,000 Services in one or two seconds on a busy node before it answers. */
export const PAGE_LIMIT_MS = 10_000;

/** Queries all Services, or those that `query` selects ("?service=default/web"). */
export function askServices(system: System, address: string, timeoutMs: number, query = ""): ServicesAnswer {
  try {
    const { status, statusLine, body } = askWeftd(system, address, `/debug/services${query}`, timeoutMs);
    if (status === 404) return { is: "not ours" };
    if (status !== 200) return { is: "silent", reason: `it answered ${statusLine}` };
    return { is: "answered", page: JSON.parse(body) as ServicesPage };
  } catch (error) {
    if (isSystemError(error) || error instanceof SyntaxError) return { is: "silent", reason: error.message };
    throw error;
  }
}

/** "10.96.0.10:80/tcp", "[fd00::a]:80/tcp" */
export function placeText({ address, port, protocol }: Pick<Place, "address" | "port" | "protocol">): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}/${protocol.toLowerCase()}`;
}

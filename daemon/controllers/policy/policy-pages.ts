/**
 * The answers of /debug/policies and /debug/policy-judgement. `weft policies` and `weft explain` read them, so their fields
 * must be those of command/node/policies-page.ts; a test compares the types.
 */
import { AddressError, parseAddress } from "../../../pkg/ip/address.ts";
import type { Judgement, Question, SideJudgement } from "../../../pkg/policy/judgement.ts";
import type { ListedPolicy } from "../../../pkg/policy/policy-list.ts";
import type { PolicyCounts, PolicyMap } from "../../../pkg/policy/policy-map.ts";
import type { PolicyPackets } from "./policy-counters.ts";
import type { SyncReport } from "./policy-sync.ts";

export type PolicyMode = "enforce" | "audit" | "off";

/** The page without its policies. */
export interface PageHead {
  readonly mode: PolicyMode;
  /** "flag", or a sentence about the decision. */
  readonly modeReason: string;
  readonly isSynced: boolean;
  /** Why the programmed policies may be outdated. */
  readonly warnings: readonly string[];
  readonly counts: PolicyCounts;
  readonly lastSync?: { readonly agoMs: number; readonly durationMs: number; readonly error?: string };
}

export interface PageParts extends Omit<PageHead, "counts" | "lastSync"> {
  readonly map: Pick<PolicyMap, "counts" | "policies">;
  readonly packetsOf: (policy: string) => PolicyPackets;
  readonly last: SyncReport | undefined;
  readonly nowMs: number;
}

/** The number of policies in one piece of the page. */
const PIECE = 100;

/** Yields JSON in pieces, because a node may have a thousand policies. */
export function* policiesPage({ map, packetsOf, last, nowMs, ...state }: PageParts): Iterable<string> {
  const lastSync = last && lastSyncOf(last, nowMs);
  const head: PageHead = { ...state, counts: map.counts(), ...(lastSync && { lastSync }) };
  const policies = map.policies();
  yield `${JSON.stringify(head).slice(0, -1)},"policies":[`;
  for (let at = 0; at < policies.length; at += PIECE) {
    const some = policies.slice(at, at + PIECE).map((listed) => policyOf(listed, packetsOf(listed.name)));
    yield (at === 0 ? "" : ",") + some.map((one) => JSON.stringify(one)).join(",");
  }
  yield "]}\n";
}

export function policyOf({ name, priority, ...listed }: ListedPolicy, { allowed, denied }: PolicyPackets) {
  const order = priority === undefined ? {} : { priority };
  return { policy: name, ...listed, ...order, allowedPackets: allowed, deniedPackets: denied };
}

function lastSyncOf({ endedMs, durationMs, error }: SyncReport, nowMs: number): NonNullable<PageHead["lastSync"]> {
  return {
    ...{ agoMs: Math.round(nowMs - endedMs), durationMs: Math.round(durationMs * 10) / 10 },
    ...(error !== undefined && { error }),
  };
}

/** The page of a node without policies. */
export function offPage(modeReason: string): PageHead & { readonly policies: readonly [] } {
  const counts = { policies: 0, clusterPolicies: 0, namespaces: 0, pods: 0 };
  return {
    ...{ mode: "off", modeReason, isSynced: true, warnings: [], policies: [] },
    counts: { ...counts, localPods: 0, isolatedPods: 0, identities: 0, profiles: 0 },
  };
}

/** Returns the two sides of the connection that `query` describes, or its mistake. */
export function judgementPage(mode: PolicyMode, query: URLSearchParams, judge: (question: Question) => Judgement) {
  const question = parseQuestion(query);
  if (typeof question === "string") return { error: question };
  const { egress, ingress } = judge(question);
  return { mode, ...(egress && { egress: sideOf(egress) }), ...(ingress && { ingress: sideOf(ingress) }) };
}

function sideOf({ tier, ...side }: SideJudgement) {
  return { ...side, ...(tier && { tier }) };
}

const PROTOCOLS = new Map([
  ["ICMP", 1],
  ["TCP", 6],
  ["UDP", 17],
  ["ICMPV6", 58],
  ["SCTP", 132],
]);
const MAX_PROTOCOL = 255;
const MAX_PORT = 65_535;

/** Returns the mistake as text. */
function parseQuestion(query: URLSearchParams): Question | string {
  const [from, to] = [query.get("from") ?? "", query.get("to") ?? ""];
  const protocolText = query.get("protocol") ?? "TCP";
  const protocol = PROTOCOLS.get(protocolText.toUpperCase()) ?? numberUpTo(MAX_PROTOCOL, protocolText);
  const port = numberUpTo(MAX_PORT, query.get("port") ?? "0");
  if (protocol === undefined) return `protocol=${protocolText}: expected TCP, UDP, SCTP, ICMP, ICMPv6 or a number`;
  if (port === undefined) return `port=${query.get("port")}: expected a number from 0 to ${MAX_PORT}`;
  try {
    return { from: parseAddress(from), to: parseAddress(to), protocol, port };
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    return `from=${from}, to=${to}: ${error.message}`;
  }
}

function numberUpTo(most: number, text: string): number | undefined {
  return /^\d+$/.test(text) && Number(text) <= most ? Number(text) : undefined;
}

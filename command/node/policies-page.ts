/** weftd's reports of policies: /debug/policies, /debug/policy-judgement and /debug/policy-preview. */
import { type Address, formatAddress } from "../../pkg/ip/address.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import { askWeftd } from "./weftd.ts";

export type PolicyMode = "enforce" | "audit" | "off";

export interface PagePolicy {
  readonly kind: "NetworkPolicy" | "ClusterNetworkPolicy";
  /** "namespace/name", or "name" of a ClusterNetworkPolicy. */
  readonly policy: string;
  readonly tier: "Admin" | "NetworkPolicy" | "Baseline";
  readonly priority?: number;
  /** The directions in which it has rules or isolates. */
  readonly directions: readonly ("ingress" | "egress")[];
  /** The pods of this node that it concerns: "namespace/name". */
  readonly pods: readonly string[];
  /** True if all of these pods are in Namespaces in audit mode. */
  readonly isAudited: boolean;
  /** First packets of connections since the profiles exist: those its rules matched, and those denied to its pods. */
  readonly allowedPackets: number;
  readonly deniedPackets: number;
  /** The parts of the object that cannot be read. They match nothing. */
  readonly problems: readonly string[];
}

/** GET /debug/policies */
export interface PoliciesPage {
  readonly mode: PolicyMode;
  /** Why the mode is that: "flag", or a sentence about the decision. */
  readonly modeReason: string;
  readonly isSynced: boolean;
  readonly warnings: readonly string[];
  readonly counts: {
    readonly policies: number;
    readonly clusterPolicies: number;
    readonly namespaces: number;
    readonly pods: number;
    readonly localPods: number;
    readonly isolatedPods: number;
    readonly identities: number;
    readonly profiles: number;
  };
  readonly lastSync?: { readonly agoMs: number; readonly durationMs: number; readonly error?: string };
  readonly policies: readonly PagePolicy[];
}

/** One side of a connection, as `SideJudgement` of pkg/policy/judgement.ts. */
export interface PageSide {
  readonly direction: "ingress" | "egress";
  readonly pod: string;
  readonly verdict: "allow" | "deny";
  readonly isAudited: boolean;
  readonly tier?: "Admin" | "NetworkPolicy" | "Baseline";
  readonly policies: readonly string[];
  readonly isByRule: boolean;
}

/** GET /debug/policy-judgement?from=ADDRESS&to=ADDRESS&protocol=TCP&port=80 */
export interface JudgementPage {
  readonly mode: PolicyMode;
  readonly egress?: PageSide;
  readonly ingress?: PageSide;
}

/** A present flow that policies do not allow. Addresses and port are those after translation. */
export interface PageFlow {
  readonly protocol: string;
  readonly from: string;
  readonly fromPod?: string;
  readonly to: string;
  readonly toPod?: string;
  readonly port: number;
  /** The number of flows that differ only in their source port. */
  readonly flows: number;
  readonly deniedBy: PageSide;
}

/** GET /debug/policy-preview: present flows that enforcement would deny if they began now. */
export interface PreviewPage {
  readonly mode: PolicyMode;
  readonly flows: number;
  readonly denied: readonly PageFlow[];
}

export type PolicyAnswer<Page> =
  | { readonly is: "answered"; readonly page: Page }
  /** weftd runs and has no such report: it is older than this command, or it has no source of policies. */
  | { readonly is: "absent" }
  | { readonly is: "silent"; readonly reason: string };

/** The time limit for reports about all policies. weftd reads the counters of all profiles before it answers. */
export const POLICY_PAGE_LIMIT_MS = 10_000;

export function askPolicies(system: System, address: string, timeoutMs: number): PolicyAnswer<PoliciesPage> {
  return askPage(system, address, "/debug/policies", timeoutMs);
}

export function askPreview(system: System, address: string, timeoutMs: number): PolicyAnswer<PreviewPage> {
  return askPage(system, address, "/debug/policy-preview", timeoutMs);
}

export interface JudgementQuestion {
  readonly from: Address;
  readonly to: Address;
  /** The name of a protocol, such as "TCP", or the number of another one. */
  readonly protocol: string;
  /** 0 for protocols without ports. */
  readonly port: number;
}

export function askJudgement(
  system: System,
  address: string,
  { from, to, protocol, port }: JudgementQuestion,
  timeoutMs: number,
): PolicyAnswer<JudgementPage> {
  const query = `from=${formatAddress(from)}&to=${formatAddress(to)}&protocol=${protocol}&port=${port}`;
  return askPage(system, address, `/debug/policy-judgement?${query}`, timeoutMs);
}

function askPage<Page>(system: System, address: string, path: string, timeoutMs: number): PolicyAnswer<Page> {
  try {
    const { status, statusLine, body } = askWeftd(system, address, path, timeoutMs);
    if (status === 404) return { is: "absent" };
    if (status !== 200) return { is: "silent", reason: `it answered ${statusLine}` };
    return { is: "answered", page: JSON.parse(body) as Page };
  } catch (error) {
    if (isSystemError(error) || error instanceof SyntaxError) return { is: "silent", reason: error.message };
    throw error;
  }
}

const TIER_WORDS = {
  Admin: "tier Admin",
  NetworkPolicy: "NetworkPolicy",
  Baseline: "tier Baseline",
} as const satisfies Record<NonNullable<PageSide["tier"]>, string>;

/** The decision of one side: "NetworkPolicy team/db", "tier Admin, quarantine", "no policy concerns it". */
export function decisionText({ tier, policies, isByRule }: PageSide): string {
  if (tier === undefined) return "no policy concerns it";
  const names = policies.join(", ");
  if (tier !== "NetworkPolicy") return `${TIER_WORDS[tier]}${names === "" ? "" : `: ${names}`}`;
  return `${TIER_WORDS[tier]} ${names}${isByRule ? "" : ", no rule of which matches"}`;
}

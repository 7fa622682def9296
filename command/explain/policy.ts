/** Reports how policies treat a packet: weftd's judgement of both sides, and the verdict of the kernel's rules. */
import { BRIDGE_CALLS, POLICY_TABLE, SENDERS_TABLE } from "../../pkg/footprint.ts";
import { formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { IPPROTO } from "../../pkg/packet-walk/packet.ts";
import { type Ending, isStopped, type Walk } from "../../pkg/packet-walk/ruleset.ts";
import { decisionText, type JudgementPage, type PageSide } from "../node/policies-page.ts";
import { PROTOCOL_WORD } from "../services/sight.ts";
import type { Refusal } from "./service.ts";
import type { Trace } from "./trace.ts";
import { endingText } from "./words.ts";

const TABLE = `inet ${POLICY_TABLE}`;
const ICMP: ReadonlySet<number> = new Set([IPPROTO.icmp, IPPROTO.icmpv6]);

/**
 * Asks weftd for its judgement of the packet as it is now, and reports both sides. Ends the trace if the node of the
 * source drops the packet before it arrives here.
 */
export function judgePolicies(trace: Trace): void {
  const { destination, protocol, port } = trace.question;
  const source = trace.question.source ?? trace.sender;
  // A pod never blocks itself.
  if (source === undefined || isSameAddress(source, destination)) return;
  const isKnown = protocol !== undefined && (port !== undefined || ICMP.has(protocol));
  if (!isKnown) {
    if (hasTable(trace)) note(trace, "policies decide by the port; give IP:PORT, or --protocol icmp");
    return;
  }
  const question = { from: source, to: destination, protocol: protocolText(protocol), port: port ?? 0 };
  const answer = trace.knowledge.judge(question);
  if (answer.is === "silent" && hasTable(trace))
    note(
      trace,
      `weftd does not answer (${answer.reason}), so policies cannot be named, and those of pods on other nodes are not known; the kernel's table ${TABLE} decides here`,
    );
  if (answer.is !== "answered" || answer.page.mode === "off") return;
  const { page } = answer;
  trace.judgement = page;
  for (const side of sidesOf(page)) saySide(trace, side);
  const { egress } = page;
  if (egress !== undefined && !trace.isFromPod && isEnforced(page, egress))
    trace.end({ at: "policy", text: `the node of ${egress.pod} drops it: dropped by policy, ${sideText(egress)}` });
}

/** Ends the trace if the node of the destination drops the packet. */
export function reportDenialElsewhere(trace: Trace): void {
  const { judgement: page } = trace;
  if (page?.ingress === undefined || trace.isOwnPod(trace.question.destination)) return;
  if (!isEnforced(page, page.ingress)) return;
  const text = `the node of ${page.ingress.pod} drops it: dropped by policy, ${sideText(page.ingress)}`;
  trace.end({ at: "policy", text, remedy: remedyOf(page.ingress) });
}

/** Records what the rules of policies did at the hooks `forward` and `input`. */
export function recordVerdict(trace: Trace, { ending, perhaps }: Pick<Walk, "ending" | "perhaps">): void {
  const isOurs = ({ chain }: Ending) => chain.table === POLICY_TABLE;
  if (ending !== undefined && isStopped(ending)) {
    // A packet that other rules stop does not reach ours, or has passed them.
    trace.policyVerdict = isOurs(ending) ? "drop" : "unknown";
  } else trace.policyVerdict = perhaps.some((each) => isOurs(each) && isStopped(each)) ? "unknown" : "pass";
}

/** Explains why a rule of weftd's table of policies drops the packet. Undefined for rules of other tables. */
export function refusalOfPolicy(trace: Trace, ending: Ending): Refusal | undefined {
  if (ending.chain.table !== POLICY_TABLE) return undefined;
  const denied = sidesOf(trace.judgement).find(({ verdict }) => verdict === "deny");
  const reason = denied === undefined ? "" : `, ${sideText(denied)}`;
  return {
    text: `dropped by policy${reason}: ${endingText(ending)} drops it`,
    remedy: denied === undefined ? undefined : remedyOf(denied),
  };
}

/** Explains why a guard of pods' senders drops the packet. Undefined for rules of other tables. */
export function refusalOfGuard({ question: { source } }: Trace, ending: Ending): Refusal | undefined {
  if (ending.chain.table !== SENDERS_TABLE) return undefined;
  const address = source === undefined ? "the source" : formatAddress(source);
  return {
    text: `${endingText(ending)} drops it: the guard of senders does not list ${address} for this link`,
    remedy: "restart weftd, which restores the guards of running pods",
  };
}

/** Runs at the end, and reports differences between weftd's judgement and the kernel's rules of this node. */
export function compareWithJudgement(trace: Trace): void {
  const { judgement: page, policyVerdict } = trace;
  if (page === undefined || policyVerdict === "unknown") return;
  const denied = sidesOf(page).find((side) => isHere(trace, side) && isEnforced(page, side));
  if (denied !== undefined && policyVerdict !== "drop" && trace.hops.at(-1)?.state === "arrives") {
    const [, , setting = ""] = BRIDGE_CALLS[trace.question.destination.family];
    const isUnfiltered = policyVerdict === undefined;
    trace.say({
      at: "compared",
      state: "astray",
      text: isUnfiltered
        ? `weftd expects it to be dropped, ${sideText(denied)}, but frames on the bridge pass no rules: ${setting} is not 1`
        : `weftd expects it to be dropped, ${sideText(denied)}, but the kernel lets it pass: the table ${TABLE} is out of date, or another program's rules accept it first`,
      show: `nft list table ${TABLE}`,
      remedy: isUnfiltered ? `sysctl -w net.bridge.${setting}=1` : "see weftd's log, and restart weftd",
    });
  }
  if (policyVerdict === "drop" && !sidesOf(page).some(({ verdict }) => verdict === "deny"))
    trace.say({
      at: "compared",
      state: "astray",
      text: `weftd expects policies to allow it, but the kernel drops it: the table ${TABLE} is out of date`,
      show: "weft policies",
      remedy: "see weftd's log, and restart weftd, which compares the whole table",
    });
}

function saySide(trace: Trace, side: PageSide): void {
  const { mode } = trace.judgement as JudgementPage;
  const isPassing = side.verdict === "deny" && (mode === "audit" || side.isAudited);
  const why = mode === "audit" ? "the mode is audit" : "its Namespace is in audit mode";
  trace.say({
    at: "policy",
    state: side.verdict === "deny" ? "note" : "goes",
    text: isPassing ? `${sideText(side)}, but it passes: ${why}` : sideText(side),
    show: `weft policies${side.policies.length === 1 ? ` ${side.policies[0]}` : ""}`,
  });
}

/** "ingress of team/db: denied by NetworkPolicy team/db, no rule of which matches" */
function sideText(side: PageSide): string {
  const { direction, pod, verdict, tier, policies } = side;
  const head = `${direction} of ${pod}`;
  if (tier === undefined) return `${head}: allowed, since no policy isolates it`;
  if (policies.length === 0) return `${head}: ${verdict === "deny" ? "denied" : "allowed"}, since no rule matches`;
  return `${head}: ${verdict === "deny" ? "denied" : "allowed"} by ${decisionText(side)}`;
}

function remedyOf({ policies: [policy], pod }: PageSide): string {
  const [namespace = "", name] = (policy ?? `${pod.split("/")[0]}/`).split("/");
  if (policy !== undefined && name === undefined) return `kubectl describe clusternetworkpolicy ${policy}`;
  return `kubectl -n ${namespace} describe networkpolicy ${name}`.trimEnd();
}

function sidesOf(page: JudgementPage | undefined): PageSide[] {
  return [page?.egress, page?.ingress].filter((side) => side !== undefined);
}

/** True if this node enforces the side, since the pod is its own. */
function isHere(trace: Trace, { direction }: PageSide): boolean {
  return direction === "egress" ? trace.isFromPod : trace.isOwnPod(trace.question.destination);
}

function isEnforced({ mode }: JudgementPage, { verdict, isAudited }: PageSide): boolean {
  return mode === "enforce" && verdict === "deny" && !isAudited;
}

function hasTable({ knowledge }: Trace): boolean {
  return knowledge.ruleset.bases.some(({ table }) => table === POLICY_TABLE);
}

function protocolText(protocol: number): string {
  return PROTOCOL_WORD[protocol] ?? String(protocol);
}

function note(trace: Trace, text: string): void {
  trace.say({ at: "policy", state: "note", text, show: "weft policies" });
}

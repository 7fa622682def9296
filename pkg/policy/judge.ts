/**
 * Evaluates policies for one connection, to name exactly those that decide. The kernel's tables combine the rules of
 * several policies. Pure.
 */
import type { PolicyPeer, PolicyPort, PolicyRule } from "../cluster/policy/network-policy.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import type { Address } from "../ip/address.ts";
import type { Judgement, Question, SideJudgement } from "./judgement.ts";
import type { KnownPod, PodIndex } from "./pod-index.ts";
import { type ApplicablePolicies, namesOf, type Policies } from "./policies.ts";
import type { Direction, TierName } from "./state.ts";
import { blockTerm, matchesAddress, matchesPod, podTerm, resolvePort } from "./term.ts";

/** A connection, seen from one side. */
interface Side {
  readonly direction: Direction;
  readonly peer: { readonly address: Address; readonly pod: Pod | undefined };
  readonly destination: Pod | undefined;
  readonly question: Question;
}

type Decision = Pick<SideJudgement, "verdict" | "tier" | "policies" | "isByRule">;

/** A pod never blocks itself: connections of a pod to its own address are allowed. */
export function judge(question: Question, index: PodIndex, policies: Policies): Judgement {
  const [source, destination] = [index.ownerOf(question.from), index.ownerOf(question.to)];
  const judgeSide = (
    direction: Direction,
    subject: KnownPod | undefined,
    address: Address,
    other: KnownPod | undefined,
  ): SideJudgement | undefined => {
    if (subject === undefined) return undefined;
    const { key, pod } = subject;
    const applicable = policies.applicableTo(pod, index.labelsOf(pod.namespace), direction);
    const peer = { address, pod: other?.pod };
    const side = { direction, peer, destination: destination?.pod, question };
    const isItself = source === destination;
    const decision = isItself || namesOf(applicable).length === 0 ? WITHOUT_POLICIES : decide(applicable, side, index);
    return { direction, pod: key, isAudited: index.isAudited(pod.namespace), ...decision };
  };
  return {
    egress: judgeSide("egress", source, question.to, destination),
    ingress: judgeSide("ingress", destination, question.from, source),
  };
}

const WITHOUT_POLICIES: Decision = { verdict: "allow", tier: undefined, policies: [], isByRule: false };

function decide({ admin, isolating, baseline }: ApplicablePolicies, side: Side, index: PodIndex): Decision {
  const byAdmin = firstMatch("Admin", admin, side, index);
  if (byAdmin !== undefined && byAdmin !== "pass") return byAdmin;
  if (isolating.length > 0) {
    const allowing = isolating.filter(({ policy }) =>
      policy[side.direction]?.some((rule) => matchesRule(rule, policy.namespace, side, index)),
    );
    const isByRule = allowing.length > 0;
    const names = (isByRule ? allowing : isolating).map(({ key }) => key).sort();
    return { verdict: isByRule ? "allow" : "deny", tier: "NetworkPolicy", policies: names, isByRule };
  }
  const byBaseline = firstMatch("Baseline", baseline, side, index);
  if (byBaseline !== undefined && byBaseline !== "pass") return byBaseline;
  return { verdict: "allow", tier: "Baseline", policies: [], isByRule: false };
}

/** Returns undefined if no rule matches. */
function firstMatch(
  tier: TierName,
  policies: ApplicablePolicies["admin"],
  side: Side,
  index: PodIndex,
): Decision | "pass" | undefined {
  for (const policy of policies) {
    const rule = policy[side.direction].find((one) => matchesRule(one, "", side, index));
    if (rule?.verdict === "pass") return "pass";
    if (rule !== undefined) return { verdict: rule.verdict, tier, policies: [policy.name], isByRule: true };
  }
  return undefined;
}

function matchesRule({ peers, ports }: PolicyRule, namespace: string, side: Side, index: PodIndex): boolean {
  const { peer, destination, question } = side;
  const isPort = ports === undefined || ports.some((port) => matchesPort(port, destination, question));
  return isPort && (peers === undefined || peers.some((one) => matchesPeer(one, namespace, peer, index)));
}

function matchesPeer(one: PolicyPeer, namespace: string, { address, pod }: Side["peer"], index: PodIndex): boolean {
  if (one.kind === "block") return matchesAddress(blockTerm(one), address);
  return pod !== undefined && matchesPod(podTerm(one, namespace), pod, index.labelsOf(pod.namespace));
}

function matchesPort({ protocol, port }: PolicyPort, destination: Pod | undefined, question: Question): boolean {
  if (protocol !== question.protocol) return false;
  if (port === undefined) return true;
  if (typeof port !== "string") return port.first <= question.port && question.port <= port.last;
  return destination !== undefined && resolvePort({ protocol, name: port }, destination) === question.port;
}

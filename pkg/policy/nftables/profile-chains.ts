/**
 * The chains of a profile. A packet enters one of the first two with the peer's address unchecked, and returns from the
 * last one to the base chain if the profile allows it:
 *
 *     in-N      for ports that the map of single ports lacks: ranges-N: protocol . port -> in-N-K; others -> in-N-K
 *     in-N-K    one tier: priority = identity of the peer; for each step, peers in pods-G or blocks-G-F: counter, return or
 *               go to deny-N or the next tier
 *     deny-N    a pod that sends to itself returns; otherwise: log, counter, drop (or return, in audit mode)
 *
 * The rules of a tier need the peer's identity again and again, so the packet's priority stores it, as in the table for
 * Services. Each way out of the chains resets the priority.
 */
import { POLICY_LOG_GROUP } from "../../footprint.ts";
import { matchAnyPriority, resetPriority, setPriorityByMap } from "../../nft/dynamic-statements.ts";
import {
  counter,
  drop,
  goto,
  matchInSet,
  matchPairInSet,
  returnToCaller,
  type Statement,
  verdictByMap,
} from "../../nft/expressions.ts";
import { FAMILIES, familyRule } from "../../nft/family-rule.ts";
import { limitPerSecond, log } from "../../nft/log-statements.ts";
import { address, destinationPort, packetPriority, transportProtocol } from "../../nft/selector.ts";
import type { TupleElement, TupleSet } from "../../nft/set.ts";
import type { RegularChain, Rule } from "../../nft/table.ts";
import { LOG_PREFIX, type PolicySettings } from "../program.ts";
import type { Decision, PortClass, Profile, Step, Tier, Verdict } from "../state.ts";
import { blocksSet, denyChain, peerMap, podsSet, profileChain, rangesMap, selfSet } from "./names.ts";

export interface NumberedProfile {
  readonly number: number;
  readonly profile: Profile;
}

/** Log entries for each profile. Limited, because remote hosts determine the rate of denied packets. */
const LOGGED_PER_SECOND = 10;
const LOGGED_AT_ONCE = 20;
/** Enough for the headers that a log entry's reader parses: IPv6 with extensions, and the transport's ports. */
const LOGGED_BYTES = 128;

/** A tier of one or several decisions, and the tiers after it. */
interface TierChain {
  readonly name: string;
  readonly tier: Tier;
  /** The chain of the next tier. */
  readonly next: string | undefined;
}

/** The chains of a profile's tiers. Decisions that end with equal tiers share the chains of these. */
class TierChains {
  /** Each chain comes after those to which it leads. */
  readonly all: TierChain[] = [];
  readonly #start: string;
  readonly #names = new Map<string, string>();

  constructor({ number, profile }: NumberedProfile) {
    this.#start = profileChain(profile.direction, number);
    for (const { decision } of profile.ports) this.of(decision);
    this.of(profile.others);
  }

  /** The name of the first chain of `decision`. */
  of(decision: Decision): string {
    const [tier, ...rest] = decision;
    if (tier === undefined) throw new Error(`${this.#start}: a decision without tiers`);
    const key = JSON.stringify(decision);
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    const next = rest.length === 0 ? undefined : this.of(rest);
    const name = `${this.#start}-${this.all.length}`;
    this.#names.set(key, name);
    this.all.push({ name, tier, next });
    return name;
  }
}

/** A class of one port, and the chain that decides about it. */
export interface SinglePort {
  readonly protocol: number;
  readonly first: number;
  readonly chain: string;
}

/** The profile's classes of one port. They are elements of the map that all profiles share. */
export function singlePorts(numbered: NumberedProfile): SinglePort[] {
  const tiers = new TierChains(numbered);
  return numbered.profile.ports
    .filter(isSingle)
    .map(({ protocol, first, decision }) => ({ protocol, first, chain: tiers.of(decision) }));
}

const isSingle = ({ first, last }: PortClass) => first === last;

/** The map of the profile's classes of several ports; undefined if there are none. */
export function profileRanges(numbered: NumberedProfile): TupleSet | undefined {
  const ranges = numbered.profile.ports.filter((ports) => !isSingle(ports));
  if (ranges.length === 0) return undefined;
  const tiers = new TierChains(numbered);
  return {
    ...{ kind: "tuples", name: rangesMap(numbered.number), comment: "ranges of ports" },
    ...{ fields: ["inet_proto", "inet_service"], data: "verdict", hasRanges: true },
    elements: ranges.map((ports) => rangeElement(ports, tiers.of(ports.decision))),
  };
}

function rangeElement({ protocol, first, last }: PortClass, chain: string): TupleElement {
  const bytes = (port: number) => Uint8Array.of(port >>> 8, port & 0xff);
  return { values: [protocol, { from: bytes(first), to: bytes(last) }], data: { goto: chain } };
}

/** A rule, and the step that it belongs to. */
interface StepRule {
  readonly step: Step | undefined;
  readonly rule: Rule;
}

/** The chains of a profile. Each chain comes after those to which it leads. */
export function profileChains(numbered: NumberedProfile, settings: PolicySettings): RegularChain[] {
  const { number, profile } = numbered;
  const tiers = new TierChains(numbered);
  const byRange = verdictByMap([transportProtocol, destinationPort], rangesMap(number));
  const comment = commentOf("", profile.policies);
  return [
    denyRules(numbered, settings),
    ...profileTiers(numbered).map(({ name, rules }) => ({ name, rules: rules.map(({ rule }) => rule) })),
    {
      name: profileChain(profile.direction, number),
      rules: [
        ...(profile.ports.every(isSingle) ? [] : [{ comment: "ranges of ports", statements: [byRange] }]),
        { comment, statements: [goto(tiers.of(profile.others))] },
      ],
    },
  ];
}

export interface TierRules {
  readonly name: string;
  readonly tier: Tier;
  readonly rules: readonly StepRule[];
}

/** The chains of the profile's tiers. */
export function profileTiers(numbered: NumberedProfile): TierRules[] {
  return new TierChains(numbered).all.map((chain) => {
    const { name, tier } = chain;
    const otherwise: Rule = { comment: "otherwise", statements: conclusion(numbered, chain, tier.otherwise) };
    const steps = tier.steps.flatMap((step) => stepRules(numbered, chain, step).map((rule) => ({ step, rule })));
    const others = (rules: readonly Rule[]) => rules.map((rule) => ({ step: undefined, rule }));
    return { name, tier, rules: [...others(identityRules(numbered, tier)), ...steps, ...others([otherwise])] };
  });
}

/** Rules that store the peer's identity in the packet's priority, if a step of the tier looks at it. */
function identityRules({ profile }: NumberedProfile, { steps }: Tier): Rule[] {
  if (!steps.some(({ peers }) => peers !== "everything" && peers.pods !== undefined)) return [];
  return FAMILIES.map((family) =>
    familyRule(
      family,
      "the peer's identity",
      resetPriority,
      setPriorityByMap([address(peerSide(profile), family)], peerMap(family)),
    ),
  );
}

function stepRules(numbered: NumberedProfile, chain: TierChain, { peers, verdict, policies }: Step): Rule[] {
  const comment = commentOf(`${verdict}: `, policies);
  const then = [counter, ...conclusion(numbered, chain, verdict)];
  if (peers === "everything") return [{ comment, statements: then }];
  const { pods, blocks } = peers;
  const isPeer = pods === "all" ? matchAnyPriority : matchInSet([packetPriority], podsSet(pods ?? 0));
  const side = peerSide(numbered.profile);
  return [
    ...(pods === undefined ? [] : [{ comment, statements: [isPeer, ...then] }]),
    ...(blocks === undefined
      ? []
      : FAMILIES.map((family) =>
          familyRule(family, comment, matchInSet([address(side, family)], blocksSet(blocks, family)), ...then),
        )),
  ];
}

function conclusion({ number }: NumberedProfile, { name, next }: TierChain, verdict: Verdict): Statement[] {
  switch (verdict) {
    case "allow":
      return ALLOW;
    case "deny":
      return [goto(denyChain(number))];
    case "pass":
      if (next === undefined) throw new Error(`${name}: the last tier passes`);
      return [goto(next)];
  }
}

/** Returns to the base chain: all other chains are entered by `goto`. */
const ALLOW = [resetPriority, returnToCaller];

function denyRules({ number, profile }: NumberedProfile, { isAudit, hasLog }: PolicySettings): RegularChain {
  const isAudited = isAudit || profile.isAudited;
  const entry = log({ prefix: `${LOG_PREFIX}${number}`, group: POLICY_LOG_GROUP, snapLength: LOGGED_BYTES });
  const limit = limitPerSecond(LOGGED_PER_SECOND, LOGGED_AT_ONCE);
  return {
    name: denyChain(number),
    rules: [
      ...FAMILIES.map((family) =>
        familyRule(family, "a pod may reach itself", matchPairInSet(family, selfSet(family)), ...ALLOW),
      ),
      ...(hasLog ? [{ comment: "log", statements: [limit, entry] }] : []),
      {
        comment: commentOf(isAudited ? "would be denied: " : "denied: ", profile.policies),
        statements: [counter, resetPriority, isAudited ? returnToCaller : drop],
      },
    ],
  };
}

const peerSide = ({ direction }: Profile) => (direction === "ingress" ? "saddr" : "daddr");

/** nft shows at most 127 bytes; `familyRule` needs some of them. */
const LONGEST_COMMENT = 110;

/** Names of policies are ASCII. */
function commentOf(start: string, policies: readonly string[]): string {
  const text = `${start}${policies.join(", ")}`;
  return text.length <= LONGEST_COMMENT ? text : `${text.slice(0, LONGEST_COMMENT - 3)}...`;
}

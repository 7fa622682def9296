/**
 * Evaluates a hook of netfilter for a packet: all its base chains in order, and their result. It does not see rules of
 * iptables-legacy, which are not part of nf_tables.
 */
import type { SetElement } from "../netlink/nftables.ts";
import { NFPROTO, VERDICT } from "../netlink/nftables.ts";
import type { ChainPlace, NftChain, NftRule } from "../nft/ruleset.ts";
import type { Known, Packet } from "./packet.ts";
import { type Action, type Deed, outcomesOf, type Target } from "./rule.ts";
import { Scratch } from "./scratch.ts";

// The kernel shows how a packet passes its rules only while the packet passes them (nftrace), and diagnosis must neither send nor
// change anything. So the rules are evaluated here.

type TablePlace = Omit<ChainPlace, "chain">;

/** The chains, rules and sets that a walk reads on demand. */
export interface Ruleset {
  /** Base chains of IP packets, in any order. */
  readonly bases: readonly NftChain[];
  rulesOf(chain: ChainPlace): readonly NftRule[];
  elementsOf(table: TablePlace, set: string): readonly SetElement[] | undefined;
  /**
   * Reads the one element whose key is the beginning of `registers`; null if there is none. It avoids reading sets with
   * tens of thousands of elements. Undefined if the caller must read the full set instead.
   */
  elementOf?(table: TablePlace, set: string, registers: Known): SetElement | null | undefined;
}

export interface Ending {
  readonly action: Exclude<Action, "return">;
  /** The chain that decided. */
  readonly chain: ChainPlace;
  /** Undefined if the chain's policy decided. */
  readonly rule: NftRule | undefined;
  /** The possible results of `dnat` and `snat`, without duplicates. */
  readonly targets: readonly Choice[];
}

export interface Choice extends Target {
  /** The probabilities of all choices add up to 1. */
  readonly probability: number;
}

export interface Walk {
  /** The final verdict; undefined: accepted, without a decision by any rule. */
  readonly ending: Ending | undefined;
  /** The address translation, which does not end the walk. */
  readonly translation: Ending | undefined;
  /** Endings of rules that may match, depending on unknown properties of the packet. */
  readonly perhaps: readonly Ending[];
  /** The packet after the hook, with the destination that the translation chose. */
  readonly packet: Packet;
}

export interface WalkOptions {
  /** The mark and priority that the packet carries from one hook to the next. [those of a new packet] */
  readonly scratch?: Scratch;
  /** Chooses among the targets of `dnat`. [the most probable] */
  readonly choose?: (targets: readonly Choice[]) => Choice | undefined;
}

/** The kernel's own limit (NFT_JUMP_STACK_SIZE). */
const DEPTH = 16;

/** True if the packet is stopped, with or without an answer to its sender. */
export function isStopped(ending: Ending | undefined): ending is Ending & { readonly action: "drop" | "reject" } {
  return ending?.action === "drop" || ending?.action === "reject";
}

/** Evaluates `hook` (NF_INET_HOOK) for `packet`. */
export function walk(ruleset: Ruleset, hook: number, packet: Packet, options: WalkOptions = {}): Walk {
  const { scratch = new Scratch(), choose = likeliest } = options;
  const family = packet.source.family === 4 ? NFPROTO.ip : NFPROTO.ip6;
  const bases = ruleset.bases
    .filter((chain) => chain.hook === hook && (chain.family === family || chain.family === NFPROTO.inet))
    .sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0));
  const walker = new Walker(ruleset, packet, scratch);
  const { perhaps } = walker;
  let ending: Ending | undefined;
  let translation: Ending | undefined;
  for (const base of bases) {
    if (base.type === "nat" && translation !== undefined) continue;
    const found = walker.through(base, 0) ?? policyOf(base);
    if (found === undefined || found.action === "return") continue;
    const decided = found as Ending;
    if (isStopped(decided)) return { ending: decided, translation, perhaps, packet: walker.packet };
    if (decided.action === "accept") ending = decided;
    else {
      translation = decided;
      // Later chains see the new destination.
      if (decided.action === "dnat") walker.packet = translated(packet, choose(decided.targets));
    }
  }
  return { ending, translation, perhaps, packet: walker.packet };
}

function likeliest(targets: readonly Choice[]): Choice | undefined {
  return [...targets].sort((a, b) => b.probability - a.probability)[0];
}

function translated(packet: Packet, choice: Choice | undefined): Packet {
  if (choice?.address === undefined) return packet;
  const { destination, destinationPort: port } = packet;
  return {
    ...{ ...packet, destination: choice.address, destinationPort: choice.port ?? port },
    original: packet.original ?? { destination, port },
  };
}

type Found = Omit<Ending, "action"> & { readonly action: Action };

function policyOf(base: NftChain): Ending | undefined {
  return base.policy === VERDICT.drop ? { action: "drop", chain: base, rule: undefined, targets: [] } : undefined;
}

class Walker {
  readonly perhaps: Ending[] = [];
  readonly #ruleset: Ruleset;
  readonly #scratch: Scratch;
  packet: Packet;

  constructor(ruleset: Ruleset, packet: Packet, scratch: Scratch) {
    this.#ruleset = ruleset;
    this.packet = packet;
    this.#scratch = scratch;
  }

  /** The decision of the chain; undefined if the packet reaches its end. */
  through(chain: ChainPlace, depth: number): Found | undefined {
    const { elementOf } = this.#ruleset;
    const sets = {
      all: (set: string) => this.#ruleset.elementsOf(chain, set),
      ...(elementOf !== undefined && { one: (set: string, registers: Known) => elementOf(chain, set, registers) }),
    };
    for (const rule of this.#ruleset.rulesOf(chain)) {
      const outcomes = outcomesOf(rule.expressions, this.packet, this.#scratch, sets);
      const branches = outcomes.map(({ probability, deed }) => {
        const isTentative = outcomes.length > 1 || deed?.isSure === false;
        const follow = () => (deed === undefined ? undefined : this.#follow(rule, deed, depth));
        return { probability, deed, found: this.#scratch.tentatively(isTentative, follow) };
      });
      const [only] = branches;
      const isAlone = branches.length === 1;
      if (only === undefined || branches.every(({ deed }) => deed === undefined)) continue;
      const { found, isSure } = isAlone
        ? { found: only.found, isSure: only.deed?.isSure === true }
        : joined(rule, branches);
      if (!isSure) {
        const possible = isAlone ? [found] : branches.map((branch) => branch.found);
        for (const one of possible) if (one !== undefined && one.action !== "return") this.perhaps.push(one as Ending);
        continue;
      }
      if (found !== undefined) return found;
      if (isAlone && only.deed?.to?.isGoto === true) return undefined;
    }
    return undefined;
  }

  #follow(rule: NftRule, { action, to, target }: Deed, depth: number): Found | undefined {
    const { family, table, chain } = rule;
    if (action !== undefined) {
      const targets = target === undefined ? [] : [{ ...target, probability: 1 }];
      return { action, chain: { family, table, chain }, rule, targets };
    }
    if (to === undefined || depth >= DEPTH) return undefined;
    const found = this.through({ family, table, chain: to.chain }, depth + 1);
    return found?.action === "return" ? undefined : found;
  }
}

interface Branch {
  readonly probability: number;
  readonly deed: Deed | undefined;
  readonly found: Found | undefined;
}

/**
 * Combines the branches of a rule with random numbers: translations to different targets are one translation with
 * several targets; any other combination is uncertain.
 */
function joined(rule: NftRule, branches: readonly Branch[]): { found: Found | undefined; isSure: boolean } {
  const { action } = branches[0]?.found ?? {};
  const isOne = branches.every(({ found, deed }) => found?.action === action && deed?.isSure === true);
  if (action === undefined || !isOne) return { found: undefined, isSure: false };
  const { family, table, chain } = rule;
  const targets = branches.flatMap(({ found, probability }) =>
    (found?.targets ?? []).map((target) => ({ ...target, probability: target.probability * probability })),
  );
  return { found: { action, chain: { family, table, chain }, rule, targets: distinct(targets) }, isSure: true };
}

function distinct(choices: readonly Choice[]): Choice[] {
  const byTarget = new Map<string, Choice>();
  for (const choice of choices) {
    const key = `${choice.address?.value} ${choice.port}`;
    const probability = choice.probability + (byTarget.get(key)?.probability ?? 0);
    byTarget.set(key, { ...choice, probability });
  }
  return [...byTarget.values()];
}

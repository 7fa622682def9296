/**
 * The way of a packet through a hook of netfilter: all base chains there in their order, and what becomes of it. Rules of
 * iptables-legacy are no part of nf_tables, and not seen.
 */
import type { SetElement } from "../netlink/nftables.ts";
import { NFPROTO, VERDICT } from "../netlink/nftables.ts";
import type { ChainPlace, NftChain, NftRule } from "../nft/ruleset.ts";
import type { Packet } from "./packet.ts";
import { type Action, type Deed, deedOf } from "./rule.ts";

/** What a walk reads: chains and rules as they are, sets as they are asked for. */
export interface Ruleset {
  /** Base chains of IP packets, in no order. */
  readonly bases: readonly NftChain[];
  rulesOf(chain: ChainPlace): readonly NftRule[];
  elementsOf(table: Omit<ChainPlace, "chain">, set: string): readonly SetElement[] | undefined;
}

export interface Ending {
  readonly action: Exclude<Action, "return">;
  /** The chain in which it was decided. */
  readonly chain: ChainPlace;
  /** Undefined: the chain's policy. */
  readonly rule: NftRule | undefined;
}

export interface Walk {
  /** What is done in the end; undefined: accepted, and nobody had a word in it. */
  readonly ending: Ending | undefined;
  /** Address translation on the way, which ends no walk. */
  readonly translation: Ending | undefined;
  /** Rules that may have treated the packet otherwise, if what is not known of it is such. */
  readonly perhaps: readonly Ending[];
}

/** The kernel's own limit (NFT_JUMP_STACK_SIZE). */
const DEPTH = 16;

/** What becomes of `packet` at `hook` (NF_INET_HOOK). */
export function walk(ruleset: Ruleset, hook: number, packet: Packet): Walk {
  const family = packet.source.family === 4 ? NFPROTO.ip : NFPROTO.ip6;
  const bases = ruleset.bases
    .filter((chain) => chain.hook === hook && (chain.family === family || chain.family === NFPROTO.inet))
    .sort((a, b) => (a.priority ?? 0) - (b.priority ?? 0));
  const perhaps: Ending[] = [];
  let ending: Ending | undefined;
  let translation: Ending | undefined;
  for (const base of bases) {
    if (base.type === "nat" && translation !== undefined) continue;
    const found = throughChain(ruleset, base, packet, perhaps, 0) ?? policyOf(base);
    if (found === undefined || found.action === "return") continue;
    const decided = found as Ending;
    if (decided.action === "drop") return { ending: decided, translation, perhaps };
    if (decided.action === "accept") ending = decided;
    else translation = decided;
  }
  return { ending, translation, perhaps };
}

type Found = Omit<Ending, "action"> & { readonly action: Action };

function policyOf(base: NftChain): Ending | undefined {
  return base.policy === VERDICT.drop ? { action: "drop", chain: base, rule: undefined } : undefined;
}

/** What the chain decides; undefined where the packet comes out at its end. */
function throughChain(
  ruleset: Ruleset,
  chain: ChainPlace,
  packet: Packet,
  perhaps: Ending[],
  depth: number,
): Found | undefined {
  const elements = (set: string) => ruleset.elementsOf(chain, set);
  for (const rule of ruleset.rulesOf(chain)) {
    const deed = deedOf(rule.expressions, packet, elements);
    if (deed === undefined) continue;
    const found = follow(ruleset, rule, deed, packet, perhaps, depth);
    if (!deed.isSure) {
      if (found !== undefined && found.action !== "return") perhaps.push(found as Ending);
      continue;
    }
    if (found !== undefined) return found;
    if (deed.to?.isGoto === true) return undefined;
  }
  return undefined;
}

function follow(
  ruleset: Ruleset,
  rule: NftRule,
  { action, to }: Deed,
  packet: Packet,
  perhaps: Ending[],
  depth: number,
): Found | undefined {
  const { family, table, chain } = rule;
  if (action !== undefined) return { action, chain: { family, table, chain }, rule };
  if (to === undefined || depth >= DEPTH) return undefined;
  const found = throughChain(ruleset, { family, table, chain: to.chain }, packet, perhaps, depth + 1);
  return found?.action === "return" ? undefined : found;
}

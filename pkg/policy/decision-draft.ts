/** Entries of one port class, combined into as few steps as possible. Groups do not have numbers yet. Pure. */
import { conditionKey, type PodCondition, type RuleEntry } from "./entries.ts";
import type { TierName, Verdict } from "./state.ts";
import { ANY_POD, type BlockTerm } from "./term.ts";

/** Pods that meet one of the conditions. Equal keys: equal drafts. */
export interface PodGroupDraft {
  readonly key: string;
  readonly conditions: readonly PodCondition[];
}

/** Addresses of one of the blocks. */
export interface BlockGroupDraft {
  readonly key: string;
  readonly terms: readonly BlockTerm[];
}

/** Undefined: none of this kind. */
export interface PeersDraft {
  readonly pods: PodGroupDraft | "all" | undefined;
  readonly blocks: BlockGroupDraft | undefined;
}

export interface StepDraft {
  readonly peers: PeersDraft | "everything";
  readonly verdict: Verdict;
  readonly policies: readonly string[];
}

export interface TierDraft {
  readonly name: TierName;
  readonly steps: readonly StepDraft[];
  readonly otherwise: Verdict;
}

export interface DecisionDraft {
  readonly key: string;
  readonly tiers: readonly TierDraft[];
}

/** The entries of a tier, in the order of evaluation. */
export interface TierEntries {
  readonly name: TierName;
  readonly entries: readonly RuleEntry[];
}

const OTHERWISE: Readonly<Record<TierName, Verdict>> = { Admin: "pass", NetworkPolicy: "deny", Baseline: "allow" };

/** `tiers`: Admin, and NetworkPolicy or Baseline. */
export function draftDecision(tiers: readonly TierEntries[]): DecisionDraft {
  const drafts = tiers
    .map(({ name, entries }) => ({ name, steps: draftSteps(name, entries), otherwise: OTHERWISE[name] }))
    .filter(({ name, steps }) => name !== "Admin" || steps.length > 0);
  return { key: JSON.stringify(drafts.map(tierShape)), tiers: drafts };
}

function draftSteps(tier: TierName, entries: readonly RuleEntry[]): StepDraft[] {
  const runs: RuleEntry[][] = [];
  for (const entry of ordered(tier, entries)) {
    const run = runs.at(-1);
    if (run?.[0]?.verdict === entry.verdict) run.push(entry);
    else runs.push([entry]);
    if (entry.peers === "everything") break;
  }
  // Without a step, the verdict of Admin is to pass.
  if (tier === "Admin" && runs.at(-1)?.[0]?.verdict === "pass") runs.pop();
  return runs.map((run) => stepOf(run));
}

/** Drops entries that match nothing. The last tier cannot pass: after Baseline, connections are allowed. */
function ordered(tier: TierName, entries: readonly RuleEntry[]): readonly RuleEntry[] {
  const matching = entries.filter(({ peers }) => peers === "everything" || peers.pods.length + peers.blocks.length > 0);
  if (tier === "Admin") return matching;
  if (tier === "Baseline") {
    return matching.map((entry) => (entry.verdict === "pass" ? { ...entry, verdict: "allow" } : entry));
  }
  // All entries of NetworkPolicies allow. Entries that match everything come last, because none is evaluated after them.
  const [everything, others] = [
    matching.filter(({ peers }) => peers === "everything"),
    matching.filter(({ peers }) => peers !== "everything"),
  ];
  return [...others, ...everything];
}

function stepOf(run: readonly RuleEntry[]): StepDraft {
  const verdict = (run[0] as RuleEntry).verdict;
  return { peers: unionOf(run), verdict, policies: [...new Set(run.map(({ policy }) => policy))].sort() };
}

function unionOf(entries: readonly RuleEntry[]): PeersDraft | "everything" {
  const pods = new Map<string, PodCondition>();
  const blocks = new Map<string, BlockTerm>();
  for (const { peers } of entries) {
    if (peers === "everything") return peers;
    for (const condition of peers.pods) pods.set(conditionKey(condition), condition);
    for (const term of peers.blocks) blocks.set(term.key, term);
  }
  const blockGroup = blocks.size === 0 ? undefined : { key: keyOfAll(blocks), terms: [...blocks.values()] };
  return { pods: podGroupOf(pods), blocks: blockGroup };
}

function podGroupOf(conditions: ReadonlyMap<string, PodCondition>): PeersDraft["pods"] {
  if (conditions.size === 0) return undefined;
  if (conditions.has(ANY_POD.key)) return "all";
  return { key: keyOfAll(conditions), conditions: [...conditions.values()] };
}

const keyOfAll = (all: ReadonlyMap<string, unknown>) => JSON.stringify([...all.keys()].sort());

function tierShape({ name, steps }: TierDraft): unknown {
  return [name, steps.map(({ peers, verdict, policies }) => [peersShape(peers), verdict, policies])];
}

function peersShape(peers: PeersDraft | "everything"): unknown {
  if (peers === "everything") return peers;
  return [peers.pods === "all" ? "all" : (peers.pods?.key ?? null), peers.blocks?.key ?? null];
}

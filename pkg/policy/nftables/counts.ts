/** The packets that the rules of profiles have counted. */
import { dumpRequest, type Query } from "../../netlink/message.ts";
import { NFT_MSG_GETRULE } from "../../netlink/nftables.ts";
import type { NftRule } from "../../nft/ruleset.ts";
import { tableHeader, tableText } from "../../nft/table.ts";
import type { ProfileCounts } from "../program.ts";
import type { Step } from "../state.ts";
import { BASE } from "./layout.ts";
import { denyChain } from "./names.ts";
import { type NumberedProfile, profileTiers, type TierRules } from "./profile-chains.ts";

/** Dumps all rules of the table. */
export function rulesQuestion(): Query {
  return dumpRequest(NFT_MSG_GETRULE, `nft list table ${tableText(BASE)}`, tableHeader(BASE), { table: BASE.name });
}

/** Reads the counters of a profile from the rules of its chains. Missing rules count as zero. */
export function readCounts(profile: NumberedProfile, rules: ReadonlyMap<string, readonly NftRule[]>): ProfileCounts {
  const { number } = profile;
  const denied = (rules.get(denyChain(number)) ?? []).map(packetsOf).reduce(sum, 0);
  return { number, denied, steps: profileTiers(profile).flatMap((tier) => tierCounts(tier, rules.get(tier.name))) };
}

function tierCounts({ tier, rules }: TierRules, held: readonly NftRule[] = []): ProfileCounts["steps"] {
  return tier.steps.map((step: Step) => ({
    policies: step.policies,
    verdict: step.verdict,
    packets: rules.map((rule, at) => (rule.step === step ? packetsOf(held[at]) : 0)).reduce(sum, 0),
  }));
}

const sum = (a: number, b: number) => a + b;

function packetsOf(rule: NftRule | undefined): number {
  for (const expression of rule?.expressions ?? []) {
    if (expression.kind === "counter") return Number(expression.data?.packets ?? 0n);
  }
  return 0;
}

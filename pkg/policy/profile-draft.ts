/** The decisions for a pod in one direction, for each class of ports. Pure. */
import { type DecisionDraft, draftDecision, type TierEntries } from "./decision-draft.ts";
import { type EntryContext, entriesOf } from "./entries.ts";
import { type ApplicablePolicies, namesOf } from "./policies.ts";
import { includesPorts, type ProtocolPorts, partitionPorts } from "./port-classes.ts";
import type { Direction } from "./state.ts";

export interface ProfileDraft {
  /** Equal for drafts of equal profiles. */
  readonly key: string;
  readonly direction: Direction;
  readonly isAudited: boolean;
  readonly policies: readonly string[];
  readonly ports: readonly PortClassDraft[];
  readonly others: DecisionDraft;
}

export interface PortClassDraft extends ProtocolPorts {
  readonly decision: DecisionDraft;
}

/** Returns undefined if no policy concerns the pod. */
export function draftProfile(
  applicable: ApplicablePolicies,
  isAudited: boolean,
  context: EntryContext,
): ProfileDraft | undefined {
  const policies = namesOf(applicable);
  if (policies.length === 0) return undefined;
  const { direction } = context;
  const tiers = tiersOf(applicable, context);
  const others = decisionFor(tiers, undefined);
  const ranges = tiers.flatMap(({ entries }) => entries.flatMap(({ ports }) => ports ?? []));
  const classes = partitionPorts(ranges).map((range) => ({ ...range, decision: decisionFor(tiers, range) }));
  const ports = joined(classes).filter(({ decision }) => decision.key !== others.key);
  const shape = ports.map(({ protocol, first, last, decision }) => [protocol, first, last, decision.key]);
  const key = JSON.stringify([direction, isAudited, policies, others.key, shape]);
  return { key, direction, isAudited, policies, ports, others };
}

function tiersOf({ admin, isolating, baseline }: ApplicablePolicies, context: EntryContext): TierEntries[] {
  const { direction } = context;
  const entriesOfCluster = (policies: ApplicablePolicies["admin"]) =>
    policies.flatMap((policy) =>
      policy[direction].flatMap((rule) =>
        entriesOf(rule, { policy: policy.name, verdict: rule.verdict, namespace: "" }, context),
      ),
    );
  const last: TierEntries =
    isolating.length === 0
      ? { name: "Baseline", entries: entriesOfCluster(baseline) }
      : {
          name: "NetworkPolicy",
          entries: isolating.flatMap(({ key, policy }) =>
            (policy[direction] ?? []).flatMap((rule) =>
              entriesOf(rule, { policy: key, verdict: "allow", namespace: policy.namespace }, context),
            ),
          ),
        };
  return [{ name: "Admin", entries: entriesOfCluster(admin) }, last];
}

/** `range`: a class of the partition; undefined: ports and protocols that no rule names. */
function decisionFor(tiers: readonly TierEntries[], range: ProtocolPorts | undefined): DecisionDraft {
  return draftDecision(
    tiers.map(({ name, entries }) => ({
      name,
      entries: entries.filter(
        ({ ports }) => ports === undefined || (range !== undefined && includesPorts(ports, range)),
      ),
    })),
  );
}

/** Joins neighbours of one protocol with the same decision. */
function joined(classes: readonly PortClassDraft[]): PortClassDraft[] {
  const result: PortClassDraft[] = [];
  for (const each of classes) {
    const previous = result.at(-1);
    const isSame = previous?.protocol === each.protocol && previous.decision.key === each.decision.key;
    if (isSame) result[result.length - 1] = { ...previous, last: each.last };
    else result.push(each);
  }
  return result;
}

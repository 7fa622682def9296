/** Finds the present flows that policies would deny if they began now. */
import { type Address, addressToBytes, isSameAddress } from "../ip/address.ts";
import { addressBytesKey, type Flow } from "../kernel/flow.ts";
import type { Judgement, Question, SideJudgement } from "./judgement.ts";

/** Flows that differ only in their source port. */
export interface FlowGroup {
  readonly question: Question;
  readonly flows: number;
}

/** A group of flows that would be denied. */
export interface DeniedFlows extends FlowGroup {
  readonly judgement: Judgement;
  /** The first side that denies them. */
  readonly deniedBy: SideJudgement;
}

/** Groups flows. */
export class FlowGroups {
  readonly #groups = new Map<string, { readonly question: Question; flows: number }>();
  #flows = 0;

  /** Expected connections (`ct state related`) are counted, but no policy judges them. */
  add(flow: Flow): void {
    this.#flows++;
    if (flow.isExpected) return;
    const group = this.#groups.get(flow.key);
    if (group !== undefined) {
      group.flows++;
      return;
    }
    const { from, to, protocol, port } = flow;
    this.#groups.set(flow.key, { question: { from, to, protocol, port }, flows: 1 });
  }

  /** The number of all flows. */
  get flows(): number {
    return this.#flows;
  }

  list(): Iterable<FlowGroup> {
    return this.#groups.values();
  }
}

/**
 * Judges groups of flows. `own` are the addresses of the node, which may always send to its pods. Yields after each
 * `pause` groups, so that the caller can let other work run. Returns the denied groups, those with the most flows
 * first.
 */
export function* previewFlows(
  groups: Iterable<FlowGroup>,
  judge: (question: Question) => Judgement,
  own: readonly Address[],
  pause = 500,
): Generator<undefined, readonly DeniedFlows[]> {
  const ownKeys = new Set(own.map((address) => addressBytesKey(addressToBytes(address))));
  const denied: DeniedFlows[] = [];
  let judged = 0;
  for (const { question, flows } of groups) {
    if (++judged % pause === 0) yield;
    const { from, to } = question;
    if (isSameAddress(from, to) || ownKeys.has(addressBytesKey(addressToBytes(from)))) continue;
    const judgement = judge(question);
    const deniedBy = denyingSide(judgement);
    if (deniedBy !== undefined) denied.push({ question, flows, judgement, deniedBy });
  }
  return denied.sort((a, b) => b.flows - a.flows);
}

/** Returns the first side that denies, whether or not it is in audit mode; undefined if both allow. */
function denyingSide({ egress, ingress }: Judgement): SideJudgement | undefined {
  if (egress?.verdict === "deny") return egress;
  return ingress?.verdict === "deny" ? ingress : undefined;
}

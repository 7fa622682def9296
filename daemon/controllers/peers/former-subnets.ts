/**
 * Which pod subnets this node had before, in this boot: a Node that is deleted and registers anew may get others, while its
 * pods run on. What is put on the pods' bridge for them is weftd's to remove, if it knows that it was.
 */
import { formatPrefix, isSamePrefix, type Prefix } from "../../../pkg/ip/prefix.ts";

/** An ADD that began by the old conflist may still bring a pod: none takes longer. */
export const LINGER_MS = 10 * 60_000;

interface Former {
  readonly subnet: Prefix;
  /** Since when no pod is in it. */
  emptySinceMs: number | undefined;
}

export class FormerSubnets {
  #current: readonly Prefix[] = [];
  #former: readonly Former[];

  /** `known` are those that an earlier weftd of this boot knew, its own among them. */
  constructor(known: readonly Prefix[]) {
    this.#former = known.map((subnet) => ({ subnet, emptySinceMs: undefined }));
  }

  get all(): readonly Prefix[] {
    return this.#former.map(({ subnet }) => subnet);
  }

  /** The node has `subnets` now; those that it had become former ones. */
  serves(subnets: readonly Prefix[]): void {
    this.#add(this.#current);
    this.#current = subnets;
    this.#former = this.#former.filter(({ subnet }) => !isIn(subnet, subnets));
  }

  /** `found`: former subnets as a pass has seen them; `used` tells those that still have pods. The others are forgotten in time. */
  seen(found: readonly Prefix[], used: (subnet: Prefix) => boolean, nowMs: number): void {
    this.#add(found);
    for (const former of this.#former)
      former.emptySinceMs = used(former.subnet) ? undefined : (former.emptySinceMs ?? nowMs);
    this.#former = this.#former.filter(({ emptySinceMs = nowMs }) => nowMs - emptySinceMs < LINGER_MS);
  }

  #add(subnets: readonly Prefix[]): void {
    const known = new Set(this.#former.map(({ subnet }) => formatPrefix(subnet)));
    const others = subnets.filter((subnet) => !known.has(formatPrefix(subnet)));
    this.#former = [...this.#former, ...others.map((subnet) => ({ subnet, emptySinceMs: undefined }))];
  }
}

function isIn(subnet: Prefix, subnets: readonly Prefix[]): boolean {
  return subnets.some((one) => isSamePrefix(one, subnet));
}

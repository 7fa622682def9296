/**
 * Remembers the pod subnets that this node had earlier in this boot. A Node that is deleted and registered again may
 * get other subnets while its pods keep running. weftd may remove what it configured on the pods' bridge for them only
 * if it knows that these subnets were this node's.
 */
import { formatPrefix, isSamePrefix, type Prefix } from "../../../pkg/ip/prefix.ts";

/** An ADD that began with the old conflist may still create a pod; none takes longer. */
export const LINGER_MS = 10 * 60_000;

interface Former {
  readonly subnet: Prefix;
  /** The time since which the subnet has no pod. */
  emptySinceMs: number | undefined;
}

export class FormerSubnets {
  #current: readonly Prefix[] = [];
  #former: readonly Former[];

  /** `known` are the subnets that an earlier weftd of this boot knew, including its own. */
  constructor(known: readonly Prefix[]) {
    this.#former = known.map((subnet) => ({ subnet, emptySinceMs: undefined }));
  }

  get all(): readonly Prefix[] {
    return this.#former.map(({ subnet }) => subnet);
  }

  /** Sets the node's subnets. Those that it had before become former ones. */
  serves(subnets: readonly Prefix[]): void {
    this.#add(this.#current);
    this.#current = subnets;
    this.#former = this.#former.filter(({ subnet }) => !isIn(subnet, subnets));
  }

  /** Records the former subnets that a pass has found. `used` is true for subnets with pods; the others expire. */
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

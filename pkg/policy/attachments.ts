/** Addresses that ADD reports for pods of this node before the API server reports them. */
import type { Pod } from "../cluster/policy/pod.ts";
import { type Address, addressKey } from "../ip/address.ts";

interface Attachment {
  readonly uid: string;
  readonly addresses: readonly Address[];
  /** The addresses of the pod's status when ADD ran: after a restart of the sandbox, those of the old sandbox. */
  readonly stale: string;
}

export class Attachments {
  readonly #attachments = new Map<string, Attachment>();

  /** Adds addresses of the pod with this UID. `pod` is the known pod with this key; it may have another UID. */
  attach(key: string, uid: string, addresses: readonly Address[], pod: Pod | undefined): void {
    const known = this.#attachments.get(key);
    const own = known?.uid === uid ? known.addresses : [];
    const stale = pod !== undefined && isPod(pod, uid) ? textOf(pod.addresses) : "";
    this.#attachments.set(key, { uid, addresses: union(own, addresses), stale });
  }

  detach(key: string): void {
    this.#attachments.delete(key);
  }

  /** Forgets the addresses of a pod that ends, is removed or replaced, or whose status has new addresses. */
  update(key: string, before: Pod | undefined, after: Pod | undefined): void {
    const attachment = this.#attachments.get(key);
    if (attachment === undefined) return;
    const { uid, stale } = attachment;
    const isThere = after !== undefined && isPod(after, uid);
    const isGone = !isThere && before !== undefined && isPod(before, uid);
    const isReported = isThere && after.addresses.length > 0 && textOf(after.addresses) !== stale;
    if (isGone || isReported || (isThere && after.hasEnded)) this.#attachments.delete(key);
  }

  /** Returns the addresses of the pod's status and of ADD. */
  addressesOf(key: string, pod: Pod): readonly Address[] {
    const attachment = this.#attachments.get(key);
    if (attachment === undefined || !isPod(pod, attachment.uid)) return pod.addresses;
    return union(pod.addresses, attachment.addresses);
  }
}

/** True if `uid` is the pod's UID or, for a static pod, its configuration's hash, which kubelet passes to ADD. */
export function isPod(pod: Pod, uid: string): boolean {
  return pod.uid === uid || (pod.configHash !== "" && pod.configHash === uid);
}

function union(a: readonly Address[], b: readonly Address[]): readonly Address[] {
  return [...new Map([...a, ...b].map((address) => [addressKey(address), address])).values()];
}

const textOf = (addresses: readonly Address[]) => addresses.map(addressKey).join();

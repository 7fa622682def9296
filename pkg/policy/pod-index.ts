/** The pods of the cluster, by key, by namespace and by address, and the labels of their namespaces. */
import { type Labels, NO_LABELS } from "../cluster/policy/labels.ts";
import type { Namespace } from "../cluster/policy/namespace.ts";
import type { Pod } from "../cluster/policy/pod.ts";
import { type Address, addressKey } from "../ip/address.ts";
import { AddressOwners } from "./address-owners.ts";
import { Attachments, isPod } from "./attachments.ts";

export interface KnownPod {
  /** "namespace/name" */
  readonly key: string;
  readonly pod: Pod;
  /** Addresses of its status and of ADD. None for hostNetwork pods and pods that have ended. */
  readonly addresses: readonly Address[];
}

export interface TouchedAddress {
  readonly address: Address;
  /** Its `addressKey`. */
  readonly text: string;
  readonly owner: KnownPod | undefined;
}

export class PodIndex {
  readonly #namespaces = new Map<string, Namespace>();
  readonly #pods = new Map<string, KnownPod>();
  readonly #byNamespace = new Map<string, Set<string>>();
  readonly #owners = new AddressOwners((key) => this.#pods.get(key)?.pod.startSeconds ?? 0);
  readonly #attachments = new Attachments();
  /** By `addressKey`. */
  readonly #touched = new Map<string, Address>();

  get namespaceCount(): number {
    return this.#namespaces.size;
  }

  get podCount(): number {
    return this.#pods.size;
  }

  get(key: string): KnownPod | undefined {
    return this.#pods.get(key);
  }

  all(): Iterable<KnownPod> {
    return this.#pods.values();
  }

  /** Keys of the pods of a namespace. */
  inNamespace(name: string): Iterable<string> {
    return this.#byNamespace.get(name) ?? [];
  }

  /** Names of the namespaces that have pods. */
  namespacesInUse(): Iterable<string> {
    return this.#byNamespace.keys();
  }

  labelsOf(namespace: string): Labels {
    return this.#namespaces.get(namespace)?.labels ?? NO_LABELS;
  }

  isAudited(namespace: string): boolean {
    return this.#namespaces.get(namespace)?.isAudited ?? false;
  }

  ownerOf(address: Address): KnownPod | undefined {
    return this.#ownerAt(addressKey(address));
  }

  setNamespace(name: string, namespace: Namespace | undefined): void {
    if (namespace === undefined) this.#namespaces.delete(name);
    else this.#namespaces.set(name, namespace);
  }

  /** Sets or removes a pod. Returns the pod before. */
  setPod(key: string, pod: Pod | undefined): KnownPod | undefined {
    const before = this.#pods.get(key);
    this.#attachments.update(key, before?.pod, pod);
    if (pod === undefined) this.#remove(key, before);
    else this.#put(key, pod, before);
    return before;
  }

  attach(key: string, uid: string, addresses: readonly Address[]): void {
    const known = this.#pods.get(key);
    this.#attachments.attach(key, uid, addresses, known?.pod);
    if (known === undefined || !isPod(known.pod, uid)) return;
    this.#put(key, known.pod, known);
    if (this.#pods.get(key)?.addresses.length === 0) return;
    for (const address of addresses) {
      this.#owners.takeOver(address, key);
      this.touch([address]);
    }
  }

  detach(key: string): void {
    this.#attachments.detach(key);
    const known = this.#pods.get(key);
    if (known !== undefined) this.#put(key, known.pod, known);
  }

  /** Marks addresses whose table entries may have changed. */
  touch(addresses: readonly Address[]): void {
    for (const address of addresses) this.#touched.set(addressKey(address), address);
  }

  /** Returns the marked addresses, with their owners. */
  touched(): readonly TouchedAddress[] {
    return [...this.#touched].map(([text, address]) => ({ text, address, owner: this.#ownerAt(text) }));
  }

  clearTouched(): void {
    this.#touched.clear();
  }

  #ownerAt(address: string): KnownPod | undefined {
    const key = this.#owners.ownerOf(address);
    return key === undefined ? undefined : this.#pods.get(key);
  }

  #put(key: string, pod: Pod, before: KnownPod | undefined): void {
    const addresses = pod.isHostNetwork || pod.hasEnded ? [] : this.#attachments.addressesOf(key, pod);
    this.#pods.set(key, { key, pod, addresses });
    this.#moveClaims(key, before?.addresses ?? [], addresses);
    if (before !== undefined) return;
    const keys = this.#byNamespace.get(pod.namespace) ?? new Set();
    this.#byNamespace.set(pod.namespace, keys.add(key));
  }

  #remove(key: string, before: KnownPod | undefined): void {
    if (before === undefined) return;
    this.#pods.delete(key);
    this.#moveClaims(key, before.addresses, []);
    const keys = this.#byNamespace.get(before.pod.namespace);
    keys?.delete(key);
    if (keys?.size === 0) this.#byNamespace.delete(before.pod.namespace);
  }

  #moveClaims(key: string, before: readonly Address[], after: readonly Address[]): void {
    if (before === after) return;
    const kept = new Set(after.map(addressKey));
    for (const address of before) if (!kept.has(addressKey(address))) this.#owners.release(address, key);
    for (const address of after) this.#owners.claim(address, key);
    this.touch(before);
    this.touch(after);
  }
}

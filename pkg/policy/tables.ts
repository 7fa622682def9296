/** The tables of `state.ts`, with changes applied, and the lookups that the kernel makes in them. */
import { type Address, addressKey } from "../ip/address.ts";
import type { BlockGroup, Direction, Identity, Peers, PolicyChange, Profile, Subject } from "./state.ts";

export class PolicyTables {
  readonly peers = new Map<string, Identity>();
  readonly pods = new Map<number, ReadonlySet<Identity>>();
  readonly blocks = new Map<number, BlockGroup>();
  readonly profiles = new Map<number, Profile>();
  readonly subjects = new Map<string, Subject>();

  apply(change: PolicyChange): void {
    switch (change.kind) {
      case "peer":
        put(this.peers, addressKey(change.address), change.identity);
        break;
      case "pods":
        put(this.pods, change.number, change.identities);
        break;
      case "blocks":
        put(this.blocks, change.number, change.group);
        break;
      case "profile":
        put(this.profiles, change.number, change.profile);
        break;
      case "subject":
        put(this.subjects, addressKey(change.address), change.subject);
        break;
    }
  }

  /**
   * Returns the verdict for the subject's side of a connection to or from `peer`. `protocol` is the IP protocol's
   * number. A profile in audit mode denies, too.
   */
  verdict(direction: Direction, subject: Address, peer: Address, protocol: number, port: number): "allow" | "deny" {
    const number = this.subjects.get(addressKey(subject))?.[direction];
    if (number === undefined) return "allow";
    const profile = this.profiles.get(number);
    if (profile === undefined) throw new Error(`subject with an unknown profile ${number}`);
    const found = profile.ports.find(
      (range) => range.protocol === protocol && range.first <= port && port <= range.last,
    );
    for (const { steps, otherwise } of found?.decision ?? profile.others) {
      const step = steps.find(({ peers }) => peers === "everything" || this.#contains(peers, peer));
      const verdict = step?.verdict ?? otherwise;
      if (verdict !== "pass") return verdict;
    }
    throw new Error(`the last tier of profile ${number} passes`);
  }

  #contains(peers: Peers, peer: Address): boolean {
    return this.#hasPod(peers, peer) || this.#hasAddress(peers, peer);
  }

  #hasPod({ pods }: Peers, peer: Address): boolean {
    const identity = this.peers.get(addressKey(peer));
    if (pods === undefined || identity === undefined) return false;
    return pods === "all" || known(this.pods, pods).has(identity);
  }

  #hasAddress({ blocks }: Peers, { family, value }: Address): boolean {
    if (blocks === undefined) return false;
    return known(this.blocks, blocks)[family].some(({ first, last }) => first <= value && value <= last);
  }
}

function known<T>(groups: ReadonlyMap<number, T>, number: number): T {
  const group = groups.get(number);
  if (group === undefined) throw new Error(`a profile with an unknown group ${number}`);
  return group;
}

function put<K, V>(map: Map<K, V>, key: K, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

/** The elements that change with pods: of the maps and sets in `BASE`, and of pod groups. */
import { type Address, addressOfKey } from "../../ip/address.ts";
import type { Bytes, ElementForm } from "../../nft/element-bytes.ts";
import { FAMILIES } from "../../nft/family-rule.ts";
import { addressBytes, numberBytes } from "../../nft/key-bytes.ts";
import type { Identity, Subject } from "../state.ts";
import type { PolicyTables } from "../tables.ts";
import { peerMap, podsSet, profileChain, selfSet, subjectMap } from "./names.ts";

/** Receives an element. `data` is empty in sets. */
export type Sink = (set: ElementForm, key: Bytes, data: Bytes) => void;

/** The sets of `BASE` whose elements are in this file. */
export const CHANGING_SETS: readonly ElementForm[] = FAMILIES.flatMap((family) => [
  { name: subjectMap("egress", family), isJump: true },
  { name: subjectMap("ingress", family), isJump: true },
  { name: selfSet(family) },
  { name: peerMap(family) },
]);
const FORMS = new Map(CHANGING_SETS.map((form) => [form.name, form]));

function fixed(name: string): ElementForm {
  const form = FORMS.get(name);
  if (form === undefined) throw new RangeError(`there is no set ${name}`);
  return form;
}

export function emitPeer(peer: Address, identity: Identity, sink: Sink): void {
  sink(fixed(peerMap(peer.family)), addressBytes(peer), numberBytes(identity));
}

export function emitPods(number: number, identities: Iterable<Identity>, sink: Sink): void {
  const set = { name: podsSet(number) };
  for (const identity of identities) sink(set, numberBytes(identity), "");
}

export function emitSubject(subject: Address, profiles: Subject, sink: Sink): void {
  const key = addressBytes(subject);
  for (const direction of ["ingress", "egress"] as const) {
    const number = profiles[direction];
    if (number === undefined) continue;
    sink(fixed(subjectMap(direction, subject.family)), key, profileChain(direction, number));
  }
  const isIsolated = profiles.ingress !== undefined || profiles.egress !== undefined;
  if (isIsolated) sink(fixed(selfSet(subject.family)), key + key, "");
}

/** Emits all elements, subjects last. */
export function emitAll({ peers, pods, subjects }: PolicyTables, sink: Sink): void {
  for (const [number, identities] of pods) emitPods(number, identities, sink);
  for (const [key, identity] of peers) emitPeer(addressOfKey(key), identity, sink);
  for (const [key, profiles] of subjects) emitSubject(addressOfKey(key), profiles, sink);
}

/** The elements that change with pods and profiles: of the maps and sets in `BASE`, and of pod groups. */
import { type Address, addressOfKey } from "../../ip/address.ts";
import type { Bytes, ElementForm } from "../../nft/element-bytes.ts";
import { FAMILIES } from "../../nft/family-rule.ts";
import { addressBytes, numberBytes, protocolPort } from "../../nft/key-bytes.ts";
import type { Identity, Subject } from "../state.ts";
import type { PolicyTables } from "../tables.ts";
import { PORTS_MAP, PROFILES_MAP, peerMap, podsSet, profileChain, selfSet, subjectMap } from "./names.ts";
import { type NumberedProfile, singlePorts } from "./profile-chains.ts";

/** Receives an element. `data` is empty in sets. */
export type Sink = (set: ElementForm, key: Bytes, data: Bytes) => void;

/** The sets of `BASE` whose elements are in this file. */
export const CHANGING_SETS: readonly ElementForm[] = [
  ...FAMILIES.flatMap((family) => [
    { name: subjectMap("egress", family) },
    { name: subjectMap("ingress", family) },
    { name: selfSet(family) },
    { name: peerMap(family) },
  ]),
  { name: PROFILES_MAP, isGoto: true },
  { name: PORTS_MAP, isGoto: true },
];
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
    if (number !== undefined) sink(fixed(subjectMap(direction, subject.family)), key, numberBytes(number));
  }
  const isIsolated = profiles.ingress !== undefined || profiles.egress !== undefined;
  if (isIsolated) sink(fixed(selfSet(subject.family)), key + key, "");
}

export function emitProfile(profile: NumberedProfile, sink: Sink): void {
  const number = numberBytes(profile.number);
  for (const { protocol, first, chain } of singlePorts(profile)) {
    sink(fixed(PORTS_MAP), number + protocolPort(protocol, first), chain);
  }
  sink(fixed(PROFILES_MAP), number, profileChain(profile.profile.direction, profile.number));
}

/** Emits all elements, subjects last. */
export function emitAll({ peers, pods, profiles, subjects }: PolicyTables, sink: Sink): void {
  for (const [number, identities] of pods) emitPods(number, identities, sink);
  for (const [key, identity] of peers) emitPeer(addressOfKey(key), identity, sink);
  for (const [number, profile] of profiles) emitProfile({ number, profile }, sink);
  for (const [key, profiles] of subjects) emitSubject(addressOfKey(key), profiles, sink);
}

/** Tables as the changes that make them. */
import { addressOfKey } from "../../ip/address.ts";
import type { PolicyChange } from "../state.ts";
import { PolicyTables } from "../tables.ts";

/** Returns the changes that make `tables` from empty ones: subjects last, and nothing before what it refers to. */
export function changesOf(tables: PolicyTables): PolicyChange[] {
  return [
    ...[...tables.pods].map(([number, identities]): PolicyChange => ({ kind: "pods", number, identities })),
    ...[...tables.blocks].map(([number, group]): PolicyChange => ({ kind: "blocks", number, group })),
    ...[...tables.peers].map(
      ([key, identity]): PolicyChange => ({ kind: "peer", address: addressOfKey(key), identity }),
    ),
    ...[...tables.profiles].map(([number, profile]): PolicyChange => ({ kind: "profile", number, profile })),
    ...[...tables.subjects].map(
      ([key, subject]): PolicyChange => ({ kind: "subject", address: addressOfKey(key), subject }),
    ),
  ];
}

/** A copy that does not change with `tables`. */
export function copyOf(tables: PolicyTables): PolicyTables {
  const copy = new PolicyTables();
  for (const change of changesOf(tables)) copy.apply(change);
  return copy;
}

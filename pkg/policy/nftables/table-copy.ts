/** Copies of tables. */
import { PolicyTables } from "../tables.ts";

/** A copy that does not change with `tables`. */
export function copyOf(tables: PolicyTables): PolicyTables {
  const copy = new PolicyTables();
  for (const [key, identity] of tables.peers) copy.peers.set(key, identity);
  for (const [number, identities] of tables.pods) copy.pods.set(number, identities);
  for (const [number, group] of tables.blocks) copy.blocks.set(number, group);
  for (const [number, profile] of tables.profiles) copy.profiles.set(number, profile);
  for (const [key, subject] of tables.subjects) copy.subjects.set(key, subject);
  return copy;
}

/**
 * Strategic merge patch: a merge patch that merges some lists by a key of their items, or as sets. The types of core/v1
 * define which (patchStrategy, patchMergeKey).
 */
import { mergePatch } from "./mergepatch.ts";
import { isObject, type Json, type JsonObject } from "./resource.ts";
import { badRequest } from "./status.ts";

/** By path: the key that identifies items; undefined if the list is a set of plain values. */
const MERGED_LISTS: ReadonlyMap<string, string | undefined> = new Map([
  ["metadata.finalizers", undefined],
  ["metadata.ownerReferences", "uid"],
  ["spec.containers", "name"],
  ["spec.podCIDRs", undefined],
  ["spec.ports", "port"],
  ["status.addresses", "type"],
  ["status.conditions", "type"],
  ["status.podIPs", "ip"],
]);

/** Pure. Supports only the directive `$patch` (delete, replace); throws 400 on others. */
export function strategicMergePatch(target: Json | undefined, patch: Json, path = ""): Json {
  if (!isObject(patch)) return patch;
  const { $patch: directive, ...rest } = patch;
  const unknown = Object.keys(rest).find((key) => key.startsWith("$"));
  if (unknown !== undefined) throw badRequest(`the directive ${unknown} is not supported`);
  if (directive === "replace") return mergePatch({}, rest);
  if (directive !== undefined) throw badRequest(`$patch: ${JSON.stringify(directive)} is not valid here`);
  const merged: JsonObject = isObject(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(rest)) {
    const at = path === "" ? key : `${path}.${key}`;
    if (value === undefined) continue;
    if (value === null) delete merged[key];
    else if (Array.isArray(value) && MERGED_LISTS.has(at)) merged[key] = mergeList(merged[key], value, at);
    else merged[key] = strategicMergePatch(merged[key], value, at);
  }
  return merged;
}

function mergeList(target: Json | undefined, patch: readonly Json[], path: string): Json[] {
  const held = Array.isArray(target) ? target : [];
  const key = MERGED_LISTS.get(path);
  if (key === undefined) return [...held, ...patch.filter((value) => !held.includes(value))];
  const merged = new Map<Json | undefined, Json>(held.map((item) => [isObject(item) ? item[key] : item, item]));
  for (const item of patch) {
    if (!isObject(item) || item[key] === undefined) throw badRequest(`${path}: an item has no ${key}`);
    if (item.$patch === "delete") merged.delete(item[key]);
    else merged.set(item[key], strategicMergePatch(merged.get(item[key]), item, path));
  }
  return [...merged.values()];
}

/**
 * The type of stored objects: JSON, of which the test API server interprets the metadata and stores the rest unchanged.
 */

export type Json = null | boolean | number | string | Json[] | JsonObject;

export interface JsonObject {
  [key: string]: Json | undefined;
}

export interface Metadata extends JsonObject {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  generation?: number;
  labels?: { [key: string]: string };
  annotations?: { [key: string]: string };
  finalizers?: string[];
}

/** An object as stored and as sent. The store never changes one in place: an update is a new object. */
export interface KubeObject extends JsonObject {
  kind: string;
  apiVersion: string;
  metadata: Metadata;
}

/** A Node (core/v1). */
export interface NodeObject extends KubeObject {
  spec: JsonObject;
  status: JsonObject;
}

/** A caller's input. Everything except the name, and the namespace of a namespaced kind, is filled in if missing. */
export interface ObjectInput extends JsonObject {
  metadata: { name: string } & JsonObject;
}

export type NodeInput = ObjectInput;

/** "namespace/name", or the name alone: the object's key within its kind. Keys sort as in etcd. */
export function keyOf({ namespace, name }: { namespace?: Json | undefined; name: string }): string {
  return namespace ? `${String(namespace)}/${name}` : name;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Equality of JSON values, ignoring the order of keys. An undefined key counts as absent. */
export function isSameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => isSameJson(item, b[index]));
  }
  if (isObject(a) && isObject(b)) {
    const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
    return [...keys].every((key) => isSameJson(a[key], b[key]));
  }
  return a === b;
}

/**
 * The shape of what the stand-in stores: a Node as JSON, of which it understands the metadata and carries the rest.
 */

export type Json = null | boolean | number | string | Json[] | JsonObject;

export interface JsonObject {
  [key: string]: Json | undefined;
}

export interface Metadata extends JsonObject {
  name: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  labels?: { [key: string]: string };
  annotations?: { [key: string]: string };
}

/** A Node (core/v1) as stored and as sent. The store never changes one in place: an update is a new object. */
export interface NodeObject extends JsonObject {
  kind: "Node";
  apiVersion: "v1";
  metadata: Metadata;
  spec: JsonObject;
  status: JsonObject;
}

/** What a caller hands in; everything but the name is filled in where it is missing. */
export interface NodeInput {
  metadata: { name: string } & JsonObject;
  spec?: JsonObject;
  status?: JsonObject;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Equality of JSON values, without regard to the order of keys; a key that is undefined counts as absent. */
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

/**
 * The fields that Go's encoder always writes, because they are structs and not pointers, even when a Node has none
 * of them. A client that tests for their absence would work here and fail on a real server.
 */
const ZERO_STATUS = {
  daemonEndpoints: { kubeletEndpoint: { Port: 0 } },
  nodeInfo: {
    machineID: "",
    systemUUID: "",
    bootID: "",
    kernelVersion: "",
    osImage: "",
    containerRuntimeVersion: "",
    kubeletVersion: "",
    kubeProxyVersion: "",
    operatingSystem: "",
    architecture: "",
  },
} as const;

/** Fills in what the encoder always writes, mirrors podCIDR and podCIDRs, and drops empty maps as Go's omitempty does. */
export function completeNode(input: NodeInput): NodeObject {
  const metadata = { ...input.metadata } as Metadata;
  for (const key of ["labels", "annotations"] as const) {
    if (metadata[key] !== undefined && Object.keys(metadata[key]).length === 0) delete metadata[key];
  }
  const spec: JsonObject = { ...input.spec };
  if (typeof spec.podCIDR === "string" && spec.podCIDRs === undefined) spec.podCIDRs = [spec.podCIDR];
  const first = Array.isArray(spec.podCIDRs) ? spec.podCIDRs[0] : undefined;
  if (spec.podCIDR === undefined && first !== undefined) spec.podCIDR = first;
  return { kind: "Node", apiVersion: "v1", metadata, spec, status: { ...ZERO_STATUS, ...input.status } };
}

/** The object of a bookmark: a Node that carries nothing but a version. */
export function bookmarkNode(version: number, annotations?: { [key: string]: string }): JsonObject {
  const metadata: JsonObject = { resourceVersion: String(version) };
  if (annotations !== undefined) metadata.annotations = annotations;
  return { kind: "Node", apiVersion: "v1", metadata, spec: {}, status: { ...ZERO_STATUS } };
}

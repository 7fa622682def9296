/** Resources of the Kubernetes API: their paths, selections of objects, and the common fields of objects. */

/** One resource, as the API's paths name it. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** In lower case: "endpointslices". */
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
}

/** The common fields of all objects. The fields of a kind are unchecked until a parser reads them. */
export interface KubeObject {
  readonly metadata: ObjectMetadata;
  readonly [field: string]: unknown;
}

/**
 * The fields of metadata that weft reads. A server sets all but labels and annotations; objects in tests may lack
 * others.
 */
export interface ObjectMetadata {
  readonly name: string;
  /** Undefined in cluster-scoped objects. */
  readonly namespace?: string;
  /** Changes if an object was deleted and another was created under its name. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: { readonly [key: string]: string };
  readonly annotations?: { readonly [key: string]: string };
}

/** A selection of a resource's objects. The server filters, so other objects are never sent. */
export interface Selection {
  /** Default: all namespaces. */
  readonly namespace?: string;
  /** Such as "app=web,tier in (a, b),!service.kubernetes.io/headless". */
  readonly labelSelector?: string;
  /** Such as "spec.nodeName=n1". Each resource supports only a few fields. */
  readonly fieldSelector?: string;
}

/** The complete object, or only its metadata (PartialObjectMetadata), which reduces the load of server and network. */
export type Form = "whole" | "metadata";

const PARTIAL = "g=meta.k8s.io;v=v1";

/** Returns the Accept header for `form`, for one object (also in each event of a watch) or a list. */
export function acceptOf(form: Form, target: "object" | "list"): string {
  if (form === "whole") return "application/json";
  return `application/json;as=PartialObjectMetadata${target === "list" ? "List" : ""};${PARTIAL}`;
}

/** Returns the path of a collection, an object, or its subresource. */
export function resourcePath(
  { group, version, plural }: Resource,
  { namespace, name, subresource }: { namespace?: string | undefined; name?: string; subresource?: string } = {},
): string {
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  const object = name === undefined ? "" : `/${encodeURIComponent(name)}`;
  return `${root}${scope}/${plural}${object}${subresource === undefined ? "" : `/${subresource}`}`;
}

/** Returns "namespace/name", or only the name without a namespace: the key of an object within its resource. */
export function keyOf(namespace: string | undefined, name: string): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** True if `value` can be an object of `resource`. */
export function isObjectOf({ isNamespaced }: Resource, value: unknown): value is KubeObject {
  const { metadata } = (value ?? {}) as { metadata?: { name?: unknown; namespace?: unknown } };
  const isName = (text: unknown) => typeof text === "string" && text !== "";
  return isName(metadata?.name) && (!isNamespaced || isName(metadata?.namespace));
}

/** Kinds of objects of the Kubernetes API: how their paths name them, which of them are wanted, and what all have. */

/** One kind of object, as the API's paths name it. */
export interface Resource {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** In lower case: "endpointslices". */
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
}

/** What every object has. The fields of its kind are unchecked: a parser reads them. */
export interface KubeObject {
  readonly metadata: ObjectMetadata;
  readonly [field: string]: unknown;
}

/** metadata, as far as it is read. A server sets all but labels and annotations; an object of a test may lack more. */
export interface ObjectMetadata {
  readonly name: string;
  /** Absent in cluster-scoped objects. */
  readonly namespace?: string;
  /** Differs when an object was deleted and another created under its name. */
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly labels?: { readonly [key: string]: string };
  readonly annotations?: { readonly [key: string]: string };
}

/** Which objects of a resource are wanted. The server selects, so that the others are never sent. */
export interface Selection {
  /** Default: all namespaces. */
  readonly namespace?: string;
  /** "app=web,tier in (a, b),!service.kubernetes.io/headless". */
  readonly labelSelector?: string;
  /** "spec.nodeName=n1". Each resource has few fields that can be selected by. */
  readonly fieldSelector?: string;
}

/** The whole object, or its metadata alone (PartialObjectMetadata), which spares the server and the network the rest. */
export type Form = "whole" | "metadata";

const PARTIAL = "g=meta.k8s.io;v=v1";

/** The Accept header that asks for `form`, of one object (also of each event of a watch) or of a list. */
export function acceptOf(form: Form, target: "object" | "list"): string {
  if (form === "whole") return "application/json";
  return `application/json;as=PartialObjectMetadata${target === "list" ? "List" : ""};${PARTIAL}`;
}

/** The path of a collection, or of an object or its subresource below it. */
export function resourcePath(
  { group, version, plural }: Resource,
  { namespace, name, subresource }: { namespace?: string | undefined; name?: string; subresource?: string } = {},
): string {
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const scope = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  const object = name === undefined ? "" : `/${encodeURIComponent(name)}`;
  return `${root}${scope}/${plural}${object}${subresource === undefined ? "" : `/${subresource}`}`;
}

/** "namespace/name", or the name alone where there is no namespace: the key of an object among those of its resource. */
export function keyOf(namespace: string | undefined, name: string): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** True for anything that can be an object of `resource`. */
export function isObjectOf({ isNamespaced }: Resource, value: unknown): value is KubeObject {
  const { metadata } = (value ?? {}) as { metadata?: { name?: unknown; namespace?: unknown } };
  const isName = (text: unknown) => typeof text === "string" && text !== "";
  return isName(metadata?.name) && (!isNamespaced || isName(metadata?.namespace));
}

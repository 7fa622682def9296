/**
 * Chooses the form of an object from the client's Accept header: the whole object, only its metadata
 * (`application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1`), or a table for people (`as=Table`). The first
 * supported clause wins. Protobuf is not supported, which a server may choose.
 */
import { apiVersionOf, type Kind, NODES } from "./kinds.ts";
import type { JsonObject, KubeObject, NodeObject } from "./resource.ts";
import { ApiError, notAcceptable } from "./status.ts";
import { presentTable } from "./table.ts";

export type Form = "whole" | "metadata" | "table";

/** The requested item: one object (also each event of a watch), or a list. */
export type Target = "object" | "list";

const META_GROUP = "meta.k8s.io";
const PARTIAL = "PartialObjectMetadata";
const META_VERSION = `${META_GROUP}/v1`;
const SUPPORTED = "application/json";

/**
 * Throws 406 if no clause is supported, and if the list form is requested for a single object or vice versa. Tables
 * exist only if `tabular`, since the test API server has only the columns of Nodes.
 */
export function negotiateForm(accept: string | undefined, target: Target, tabular = true): Form {
  let refusal: ApiError | undefined;
  for (const clause of (accept ?? "*/*").split(",")) {
    const [type = "", ...parameters] = clause.split(";").map((part) => part.trim());
    if (!["application/json", "application/*", "*/*"].includes(type)) continue;
    const values = new Map(parameters.map((parameter) => parameter.split("=", 2) as [string, string]));
    const as = values.get("as");
    if (as === undefined) return "whole";
    if (values.get("g") !== META_GROUP || values.get("v") !== "v1") continue;
    if (as === "Table" && tabular) return "table";
    if (as === (target === "list" ? `${PARTIAL}List` : PARTIAL)) return "metadata";
    if (as === PARTIAL || as === `${PARTIAL}List`) refusal ??= wrongForm(as, target);
  }
  throw refusal ?? notAcceptable(SUPPORTED);
}

function wrongForm(as: string, target: Target): ApiError {
  const what = target === "list" ? "a list" : "not a list";
  return new ApiError(406, "NotAcceptable", `you requested ${as}, but the requested object is ${what}`, {});
}

/** One object in the requested form. */
export function present(object: KubeObject, form: Form): JsonObject {
  if (form === "whole") return object;
  if (form === "table")
    return presentTable([object as NodeObject], { resourceVersion: object.metadata.resourceVersion }, Date.now());
  return { kind: PARTIAL, apiVersion: META_VERSION, metadata: object.metadata };
}

/** A bookmark's object in the requested form. It contains only a version. */
export function presentBookmark(
  kind: Kind,
  version: number,
  form: Form,
  annotations?: { [key: string]: string },
): JsonObject {
  if (form === "table") return presentTable([], { resourceVersion: String(version) }, Date.now());
  const metadata: JsonObject = { resourceVersion: String(version) };
  if (annotations !== undefined) metadata.annotations = annotations;
  if (form === "metadata") return { kind: PARTIAL, apiVersion: META_VERSION, metadata };
  return { kind: kind.kind, apiVersion: apiVersionOf(kind), metadata, ...kind.zero };
}

/** A list in the requested form. Items of a whole list have no kind and apiVersion of their own; metadata items do. */
export function presentList(kind: Kind, objects: readonly KubeObject[], metadata: JsonObject, form: Form): JsonObject {
  if (form === "table") return presentTable(objects as readonly NodeObject[], metadata, Date.now());
  if (form === "metadata") {
    // A real server appends to a list that is nil at first (asPartialObjectMetadataList).
    const items = objects.length === 0 ? null : objects.map((object) => present(object, form));
    return { kind: `${PARTIAL}List`, apiVersion: META_VERSION, metadata, items };
  }
  const items = objects.map(({ kind: _kind, apiVersion: _apiVersion, ...item }) => item as JsonObject);
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind), metadata, items };
}

/** True if `kind` has a table form. */
export function isTabular(kind: Kind): boolean {
  return kind.plural === NODES.plural;
}

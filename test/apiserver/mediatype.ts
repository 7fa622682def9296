/**
 * Which form of a Node the client wants, from its Accept header: whole objects, only their metadata
 * (`application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1`), or a table for people (`as=Table`). The first clause
 * that can be served wins; protobuf is not served, as a server may choose.
 */
import { bookmarkNode, type JsonObject, type NodeObject } from "./resource.ts";
import { ApiError, notAcceptable } from "./status.ts";
import { presentTable } from "./table.ts";

export type Form = "whole" | "metadata" | "table";

/** What is asked for: one object (also each event of a watch) or a list of them. */
export type Target = "object" | "list";

const META_GROUP = "meta.k8s.io";
const PARTIAL = "PartialObjectMetadata";
const META_VERSION = `${META_GROUP}/v1`;
const SUPPORTED = "application/json";

/** Throws 406 where no clause can be served, also when the list form is asked for a single object or the reverse. */
export function negotiateForm(accept: string | undefined, target: Target): Form {
  let refusal: ApiError | undefined;
  for (const clause of (accept ?? "*/*").split(",")) {
    const [type = "", ...parameters] = clause.split(";").map((part) => part.trim());
    if (!["application/json", "application/*", "*/*"].includes(type)) continue;
    const values = new Map(parameters.map((parameter) => parameter.split("=", 2) as [string, string]));
    const as = values.get("as");
    if (as === undefined) return "whole";
    if (values.get("g") !== META_GROUP || values.get("v") !== "v1") continue;
    if (as === "Table") return "table";
    if (as === (target === "list" ? `${PARTIAL}List` : PARTIAL)) return "metadata";
    if (as === PARTIAL || as === `${PARTIAL}List`) refusal ??= wrongForm(as, target);
  }
  throw refusal ?? notAcceptable(SUPPORTED);
}

function wrongForm(as: string, target: Target): ApiError {
  const what = target === "list" ? "a list" : "not a list";
  return new ApiError(406, "NotAcceptable", `you requested ${as}, but the requested object is ${what}`, {});
}

/** One Node in the asked form. */
export function presentNode(node: NodeObject, form: Form): JsonObject {
  if (form === "whole") return node;
  if (form === "table") return presentTable([node], { resourceVersion: node.metadata.resourceVersion }, Date.now());
  return { kind: PARTIAL, apiVersion: META_VERSION, metadata: node.metadata };
}

/** A bookmark's object in the asked form. */
export function presentBookmark(version: number, form: Form, annotations?: { [key: string]: string }): JsonObject {
  const node = bookmarkNode(version, annotations);
  if (form === "whole") return node;
  if (form === "table") return presentTable([], { resourceVersion: String(version) }, Date.now());
  return { kind: PARTIAL, apiVersion: META_VERSION, metadata: node.metadata };
}

/** A list in the asked form. Items of a whole list carry no kind and apiVersion of their own, metadata items do. */
export function presentList(nodes: readonly NodeObject[], metadata: JsonObject, form: Form): JsonObject {
  if (form === "table") return presentTable(nodes, metadata, Date.now());
  if (form === "metadata") {
    const items = nodes.map((node) => presentNode(node, form));
    return { kind: `${PARTIAL}List`, apiVersion: META_VERSION, metadata, items };
  }
  const items = nodes.map(({ metadata, spec, status }) => ({ metadata, spec, status }));
  return { kind: "NodeList", apiVersion: "v1", metadata, items };
}

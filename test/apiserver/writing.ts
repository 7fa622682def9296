/** Writing: applies a request's body to an object. */
import type { Cluster } from "./cluster.ts";
import type { ApiRequest } from "./handler.ts";
import { type Kind, NAMESPACES } from "./kinds.ts";
import { mergePatch } from "./mergepatch.ts";
import { isObject, type Json, type JsonObject, type KubeObject, type ObjectInput } from "./resource.ts";
import { badRequest, notFound, unsupportedMediaType } from "./status.ts";
import type { ObjectStore } from "./store.ts";
import { strategicMergePatch } from "./strategicmerge.ts";
import { assertValid } from "./validation.ts";

export interface Write {
  readonly throughStatus: boolean;
  /** Throws the error of an admission policy that rejects the new object. */
  readonly admit: (object: JsonObject, oldObject: JsonObject) => void;
}

/** Throws 400, 409, 415, 422, and 404 if the namespace does not exist. */
export function createObject(
  cluster: Cluster,
  store: ObjectStore,
  namespace: string | undefined,
  request: ApiRequest,
): KubeObject {
  if (mediaType(request) !== "application/json") throw unsupportedMediaType();
  const { kind } = store;
  const body = parseObject(request.body);
  const metadata = metadataOf(kind, body);
  if (metadata.resourceVersion) throw badRequest("resourceVersion should not be set on objects to be created");
  if ((metadata.namespace || namespace) !== namespace) throw wrongNamespace();
  const name = cluster.nameOfNew(metadata);
  if (namespace !== undefined && !cluster.of(NAMESPACES.plural).has(namespace)) throw notFound(NAMESPACES, namespace);
  assertValid(kind, name, metadata);
  const { status, ...content } = body;
  const isStatusKept = kind.isCreatedWithStatus || !kind.hasStatus;
  return store.create({
    ...content,
    ...(isStatusKept && status !== undefined ? { status } : {}),
    metadata: { ...metadata, name, ...(namespace === undefined ? {} : { namespace }) },
  });
}

/** Replaces the whole object. Throws 400, 404, 409, 415, 422. */
export function replaceObject(store: ObjectStore, key: string, request: ApiRequest, write: Write): KubeObject {
  if (mediaType(request) !== "application/json") throw unsupportedMediaType();
  const body = parseObject(request.body);
  metadataOf(store.kind, body);
  return edit(store, key, () => body, write);
}

const PATCHES: ReadonlyMap<string | undefined, (target: JsonObject, patch: JsonObject) => Json> = new Map([
  ["application/merge-patch+json", mergePatch],
  ["application/strategic-merge-patch+json", strategicMergePatch],
]);

/** Applies a merge patch, plain or strategic. Throws 400, 404, 409, 415, 422. */
export function patchObject(store: ObjectStore, key: string, request: ApiRequest, write: Write): KubeObject {
  const apply = PATCHES.get(mediaType(request));
  if (apply === undefined) throw unsupportedMediaType();
  const patch = parseObject(request.body);
  return edit(store, key, (before) => apply(before, patch) as JsonObject, write);
}

/**
 * A write to the object itself keeps the status. A write to the subresource keeps all but status and metadata: flannel
 * and weftd, with rights on nodes/status only, write their annotations this way.
 */
function edit(
  store: ObjectStore,
  key: string,
  make: (before: KubeObject) => JsonObject,
  { throughStatus, admit }: Write,
): KubeObject {
  const { kind } = store;
  return store.update(key, (before) => {
    const after = make(before);
    const { name, namespace } = before.metadata;
    const metadata = isObject(after.metadata) ? after.metadata : {};
    if (metadata.name !== name) throw badRequest("the name of the object does not match the name on the URL");
    if ((metadata.namespace || namespace) !== namespace) throw wrongNamespace();
    assertValid(kind, name, metadata);
    const written = { ...metadata, name };
    const { status, ...content } = throughStatus ? before : after;
    const kept = throughStatus ? after.status : kind.hasStatus ? before.status : status;
    const object: ObjectInput = { ...content, ...(kept === undefined ? {} : { status: kept }), metadata: written };
    admit(object, before);
    return object;
  });
}

/** The answer to a deletion. */
export function deletedAnswer({ group, plural, returnsDeleted }: Kind, object: KubeObject): JsonObject {
  const { name, uid, deletionTimestamp } = object.metadata;
  if (returnsDeleted || deletionTimestamp !== undefined) return object;
  const details = { name, ...(group === "" ? {} : { group }), kind: plural, uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
}

export function mediaType(request: ApiRequest): string | undefined {
  return request.headers["content-type"]?.split(";", 1)[0]?.trim();
}

/** Throws 400. */
export function parseObject(body: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(body) as Json;
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw badRequest("the body is not a JSON object");
  return value;
}

function metadataOf({ kind }: Kind, body: JsonObject): JsonObject {
  if (body.kind !== undefined && body.kind !== kind)
    throw badRequest(`kind ${JSON.stringify(body.kind)} is no ${kind}`);
  if (!isObject(body.metadata)) throw badRequest("metadata is required");
  return body.metadata;
}

function wrongNamespace() {
  return badRequest("the namespace of the provided object does not match the namespace sent on the request");
}

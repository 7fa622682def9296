/**
 * The API as a function: a request in, an answer or the plan of a watch out. No sockets and no clock, so that the
 * recorded exchanges can be replayed through it directly.
 */
import type { Admission, Admit } from "./admission.ts";
import type { EventStore } from "./events.ts";
import { listPage, parseVersion } from "./listing.ts";
import { negotiateForm, presentList, presentNode } from "./mediatype.ts";
import { mergePatch } from "./mergepatch.ts";
import type { Permits } from "./rbac.ts";
import { isObject, type Json, type JsonObject, type NodeInput, type NodeObject } from "./resource.ts";
import {
  ApiError,
  badRequest,
  methodNotAllowed,
  notAdmitted,
  forbidden as notAllowed,
  pathNotFound,
  tooLarge,
  unauthorized,
  unsupportedMediaType,
} from "./status.ts";
import type { NodeStore } from "./store.ts";
import { strategicMergePatch } from "./strategicmerge.ts";
import { assertValidNode } from "./validation.ts";
import { isTrue, parseWatch, type WatchQuery } from "./watch.ts";

export interface ApiRequest {
  readonly method: string;
  /** Path and query, as on the request line. */
  readonly target: string;
  /** Names in lower case. */
  readonly headers: { readonly [name: string]: string | undefined };
  readonly body: string;
}

export interface Answer {
  readonly status: number;
  readonly headers: { readonly [name: string]: string };
  readonly body: string;
}

/** What becomes of a request: an answer, or a watch that the shell has to keep open. */
export type Outcome =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "watch"; readonly query: WatchQuery };

export interface ApiOptions {
  readonly store: NodeStore;
  readonly events: EventStore;
  /** The one bearer token that is accepted; undefined lets everybody in. */
  readonly token?: string | undefined;
  /** What nobody may do, as "patch nodes/status" or "create events". Default: nothing. */
  readonly forbidden?: ReadonlySet<string> | undefined;
  /** What whoever brings a bearer token may do; whoever brings none is an administrator. Default: everything. */
  readonly permits?: Permits | undefined;
  /** What admission policies say of what they write. Default: nothing. */
  readonly admit?: Admit | undefined;
}

/** Whoever asks, and is let in. */
const USER = "system:serviceaccount:weft:weftd";

/** Version 1.36 in the form that /version answers; a client shows it and decides nothing by it. */
const VERSION = {
  major: "1",
  minor: "36",
  emulationMajor: "1",
  emulationMinor: "36",
  minCompatibilityMajor: "1",
  minCompatibilityMinor: "35",
  gitVersion: "v1.36.0-standin",
  gitCommit: "",
  gitTreeState: "clean",
  buildDate: "1970-01-01T00:00:00Z",
  goVersion: "none",
  compiler: "none",
  platform: "linux/amd64",
} as const;

/** Never throws for anything a client can send. */
export function handle(options: ApiOptions, request: ApiRequest): Outcome {
  try {
    return route(options, request);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return { kind: "answer", answer: refuse(error) };
  }
}

/** The answer that says no. */
export function refuse(error: ApiError): Answer {
  const answer = json(error.code, error.toStatus());
  const seconds = error.details?.retryAfterSeconds;
  if (seconds === undefined) return answer;
  return { ...answer, headers: { ...answer.headers, "Retry-After": String(seconds) } };
}

function route(options: ApiOptions, request: ApiRequest): Outcome {
  const { store, token } = options;
  const url = new URL(request.target, "http://apiserver");
  if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) throw unauthorized();
  if (url.pathname === "/version") return answered(json(200, VERSION, 2));
  if (url.pathname === "/readyz" || url.pathname === "/livez" || url.pathname === "/healthz") return answered(OK);

  const events = /^\/api\/v1\/(?:namespaces\/([^/]+)\/)?events(?:\/([^/]+))?$/.exec(url.pathname);
  if (events !== null) return routeEvents(options, request, events[1], events[2]);
  const match = /^\/api\/v1\/nodes(?:\/([^/]+)(\/status)?)?$/.exec(url.pathname);
  if (match === null) throw pathNotFound();
  const [, encodedName, subresource] = match;
  const name = encodedName === undefined ? undefined : decodeName(encodedName);
  assertAllowed(options, request, { resource: subresource ? "nodes/status" : "nodes", name });
  if (name === undefined) return routeCollection(store, request, url.searchParams);

  switch (request.method) {
    case "GET": {
      const form = negotiateForm(request.headers.accept, "object");
      const version = parseVersion(url.searchParams) ?? 0;
      if (version > store.version) throw tooLarge(version, store.version);
      return answered(json(200, presentNode(store.get(name), form)));
    }
    case "PATCH": {
      const form = negotiateForm(request.headers.accept, "object");
      const patched = patchNode(options, name, subresource !== undefined, request);
      return answered(json(200, presentNode(patched, form)));
    }
    case "DELETE":
      if (subresource !== undefined) throw methodNotAllowed();
      return answered(json(200, deleted(store.delete(name))));
    default:
      throw methodNotAllowed();
  }
}

function verbOf({ method }: ApiRequest, query: URLSearchParams, name: string | undefined): string {
  if (method === "GET") return name !== undefined ? "get" : isTrue(query.get("watch")) ? "watch" : "list";
  return method === "POST" ? "create" : method.toLowerCase();
}

interface Target {
  readonly resource: string;
  readonly name: string | undefined;
  readonly namespace?: string | undefined;
}

function assertAllowed({ forbidden, permits }: ApiOptions, request: ApiRequest, { resource, name, namespace }: Target) {
  const verb = verbOf(request, new URL(request.target, "http://apiserver").searchParams, name);
  const isHeld = permits !== undefined && request.headers.authorization !== undefined;
  if (forbidden?.has(`${verb} ${resource}`) || (isHeld && !permits(verb, resource, namespace)))
    throw notAllowed(USER, verb, resource, name, namespace);
}

/** Who brings a token is the weftd of the node that the token's end names, which a real one carries inside. */
function assertAdmitted(
  { admit }: ApiOptions,
  { headers, method }: ApiRequest,
  resource: string,
  name: string,
  objects: Pick<Admission, "object" | "oldObject">,
): void {
  const node = /^Bearer weftd-on-(.+)$/.exec(headers.authorization ?? "")?.[1];
  if (admit === undefined || headers.authorization === undefined) return;
  const extra = node === undefined ? {} : { extra: { "authentication.kubernetes.io/node-name": [node] } };
  const operation = method === "POST" ? "CREATE" : "UPDATE";
  const reason = admit(resource, { request: { operation, userInfo: { username: USER, ...extra } }, ...objects });
  if (reason !== undefined) throw notAdmitted(resource, name, reason);
}

function routeEvents(options: ApiOptions, request: ApiRequest, namespace?: string, name?: string): Outcome {
  const { events } = options;
  assertAllowed(options, request, { resource: "events", name, namespace });
  if (request.method === "GET" && name === undefined) {
    const metadata = { resourceVersion: String(options.store.version) };
    return answered(json(200, { kind: "EventList", apiVersion: "v1", metadata, items: events.list(namespace) }));
  }
  if (namespace === undefined) throw methodNotAllowed();
  if (request.method === "POST" && name === undefined) {
    if (mediaType(request) !== "application/json") throw unsupportedMediaType();
    const object = parseObject(request.body);
    assertAdmitted(options, request, "events", "", { object, oldObject: null });
    return answered(json(201, events.create(namespace, object)));
  }
  if (request.method === "PATCH" && name !== undefined) {
    if (mediaType(request) !== "application/merge-patch+json") throw unsupportedMediaType();
    const admit = (object: JsonObject, oldObject: JsonObject) =>
      assertAdmitted(options, request, "events", name, { object, oldObject });
    return answered(json(200, events.patch(namespace, decodeName(name), parseObject(request.body), admit)));
  }
  throw methodNotAllowed();
}

function routeCollection(store: NodeStore, request: ApiRequest, query: URLSearchParams): Outcome {
  if (request.method === "POST") {
    const form = negotiateForm(request.headers.accept, "object");
    return answered(json(201, presentNode(createNode(store, request), form)));
  }
  if (request.method !== "GET") throw methodNotAllowed();
  if (isTrue(query.get("watch"))) {
    const form = negotiateForm(request.headers.accept, "object");
    return { kind: "watch", query: parseWatch(store, query, form) };
  }
  const form = negotiateForm(request.headers.accept, "list");
  const page = listPage(store, query);
  return answered(json(200, presentList(page.nodes, page.metadata, form)));
}

function createNode(store: NodeStore, request: ApiRequest): NodeObject {
  if (mediaType(request) !== "application/json") throw unsupportedMediaType();
  const body = parseObject(request.body);
  const { metadata, spec, status } = body;
  if (body.kind !== undefined && body.kind !== "Node") throw badRequest(`kind ${JSON.stringify(body.kind)} is no Node`);
  if (!isObject(metadata) || typeof metadata.name !== "string" || metadata.name === "") {
    throw badRequest("metadata.name is required");
  }
  if (metadata.resourceVersion) throw badRequest("resourceVersion should not be set on objects to be created");
  const { name } = metadata;
  assertValidNode(name, metadata);
  return store.create({
    metadata: { ...metadata, name },
    ...(isObject(spec) ? { spec } : {}),
    ...(isObject(status) ? { status } : {}),
  });
}

const PATCHES: ReadonlyMap<string | undefined, (target: JsonObject, patch: JsonObject) => Json> = new Map([
  ["application/merge-patch+json", mergePatch],
  ["application/strategic-merge-patch+json", strategicMergePatch],
]);

/**
 * A merge patch, plain or strategic. Through `nodes` the status stays as it is, through `nodes/status` the spec does; metadata can be
 * patched through both, which is how flannel and weftd, with rights on nodes/status alone, write their annotations.
 */
function patchNode(options: ApiOptions, name: string, throughStatus: boolean, request: ApiRequest): NodeObject {
  const apply = PATCHES.get(mediaType(request));
  if (apply === undefined) throw unsupportedMediaType();
  const patch = parseObject(request.body);
  return options.store.update(name, (before) => {
    const after = apply(before, patch) as JsonObject;
    const metadata = isObject(after.metadata) ? after.metadata : {};
    if (metadata.name !== name) throw badRequest("the name of the object does not match the name on the URL");
    assertValidNode(name, metadata);
    const kept = throughStatus ? { spec: before.spec } : { status: before.status };
    const object = { ...after, metadata: { ...metadata, name }, ...kept } as NodeInput;
    assertAdmitted(options, request, throughStatus ? "nodes/status" : "nodes", name, { object, oldObject: before });
    return object;
  });
}

function deleted(node: NodeObject): JsonObject {
  const { name, uid } = node.metadata;
  const details = { name, kind: "nodes", uid };
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", details };
}

function decodeName(encoded: string): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw pathNotFound();
  }
}

function mediaType(request: ApiRequest): string | undefined {
  return request.headers["content-type"]?.split(";", 1)[0]?.trim();
}

function parseObject(body: string): JsonObject {
  let value: Json;
  try {
    value = JSON.parse(body) as Json;
  } catch (error) {
    throw badRequest(`the body is not JSON: ${(error as Error).message}`);
  }
  if (!isObject(value)) throw badRequest("the body is not a JSON object");
  return value;
}

const OK: Answer = {
  status: 200,
  headers: { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff" },
  body: "ok",
};

function answered(answer: Answer): Outcome {
  return { kind: "answer", answer };
}

function json(status: number, value: unknown, indent?: number): Answer {
  return { status, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value, null, indent) };
}

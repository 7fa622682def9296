/**
 * The API as a function: takes a request, and returns an answer or the description of a watch. Uses no sockets and no
 * clock, so that tests replay the recorded exchanges through it directly.
 */
import type { Admission, Admit } from "./admission.ts";
import type { Cluster } from "./cluster.ts";
import { listPage, parseVersion } from "./listing.ts";
import { isTabular, negotiateForm, present, presentList } from "./mediatype.ts";
import { type ApiPath, decodeSegment, parsePath } from "./path.ts";
import type { Permits } from "./rbac.ts";
import { type JsonObject, keyOf } from "./resource.ts";
import { parseScope } from "./selector.ts";
import {
  ApiError,
  groupNotFound,
  methodNotAllowed,
  notAdmitted,
  forbidden as notAllowed,
  pathNotFound,
  tooLarge,
  unauthorized,
  unsupportedMediaType,
} from "./status.ts";
import type { ObjectStore } from "./store.ts";
import { isTrue, parseWatch, type WatchQuery } from "./watch.ts";
import { createObject, deletedAnswer, mediaType, parseObject, patchObject, replaceObject } from "./writing.ts";

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

/** The result of a request: an answer, or a watch that the HTTP server keeps open. */
export type Outcome =
  | { readonly kind: "answer"; readonly answer: Answer }
  | { readonly kind: "watch"; readonly store: ObjectStore; readonly query: WatchQuery };

export interface ApiOptions {
  readonly cluster: Cluster;
  /** The only accepted bearer token; undefined accepts every client. */
  readonly token?: string | undefined;
  /** Actions forbidden to all clients, such as "patch nodes/status" or "create events". Default: none. */
  readonly forbidden?: ReadonlySet<string> | undefined;
  /** The permitted actions of clients with a bearer token. Clients without one are administrators. Default: all. */
  readonly permits?: Permits | undefined;
  /** The admission policies for writes of clients with a bearer token. Default: none. */
  readonly admit?: Admit | undefined;
}

/** The user name of every accepted client. */
const USER = "system:serviceaccount:weft:weftd";

/** Version 1.36 in the format of /version. Clients show it and decide nothing by it. */
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

/** Never throws, whatever a client sends. */
export function handle(options: ApiOptions, request: ApiRequest): Outcome {
  try {
    return route(options, request);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return answered(refuse(error));
  }
}

/** The answer for an error. */
export function refuse(error: ApiError): Answer {
  // Go's own router answers for unserved groups, in its words.
  if (error.isPlain) return plainText(error.code, error.message);
  const answer = json(error.code, error.toStatus());
  const seconds = error.details?.retryAfterSeconds;
  if (seconds === undefined) return answer;
  return { ...answer, headers: { ...answer.headers, "Retry-After": String(seconds) } };
}

function route(options: ApiOptions, request: ApiRequest): Outcome {
  const { cluster, token } = options;
  const { pathname, searchParams } = new URL(request.target, "http://apiserver");
  if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) throw unauthorized();
  if (pathname === "/version") return answered(json(200, VERSION, 2));
  if (pathname === "/readyz" || pathname === "/livez" || pathname === "/healthz") return answered(plainText(200, "ok"));

  const events = /^\/api\/v1\/(?:namespaces\/([^/]+)\/)?events(?:\/([^/]+))?$/.exec(pathname);
  if (events !== null) return routeEvents(options, request, events[1], events[2]);
  const path = parsePath(pathname);
  if (path === undefined) throw groupNotFound();
  // A client without the right must not find out whether the kind exists.
  assertAllowed(options, request, targetOf(path));
  const store = storeOf(cluster, path);
  if (path.name === undefined) return routeCollection(options, request, store, path, searchParams);
  return routeObject(options, request, store, { ...path, name: path.name }, searchParams);
}

/** Throws 404: as JSON if the group and version are served, else as plain text. */
function storeOf(cluster: Cluster, { group, version, plural, namespace, name, subresource }: ApiPath): ObjectStore {
  const store = cluster.find(group, version, plural);
  if (store === undefined) throw cluster.hasGroup(group, version) ? pathNotFound() : groupNotFound();
  const { isNamespaced, hasStatus } = store.kind;
  if (namespace !== undefined && !isNamespaced) throw pathNotFound();
  if (name !== undefined && namespace === undefined && isNamespaced) throw pathNotFound();
  if (subresource !== undefined && !(subresource === "status" && hasStatus)) throw pathNotFound();
  return store;
}

function routeObject(
  options: ApiOptions,
  request: ApiRequest,
  store: ObjectStore,
  { name, namespace, subresource }: ApiPath & { readonly name: string },
  query: URLSearchParams,
): Outcome {
  const { cluster } = options;
  const { kind } = store;
  const key = keyOf({ namespace, name });
  const form = negotiateForm(request.headers.accept, "object", isTabular(kind));
  const resource = subresource === undefined ? kind.plural : `${kind.plural}/${subresource}`;
  const write = {
    throughStatus: subresource !== undefined,
    admit: (object: JsonObject, oldObject: JsonObject) =>
      assertAdmitted(options, request, resource, name, { object, oldObject }),
  };
  switch (request.method) {
    case "GET": {
      const version = parseVersion(query) ?? 0;
      if (version > store.version) throw tooLarge(version, store.version);
      return answered(json(200, present(store.get(key), form)));
    }
    case "PATCH":
      return answered(json(200, present(patchObject(store, key, request, write), form)));
    case "PUT":
      return answered(json(200, present(replaceObject(store, key, request, write), form)));
    case "DELETE":
      if (subresource !== undefined) throw methodNotAllowed();
      return answered(json(200, deletedAnswer(kind, cluster.delete(store, key))));
    default:
      throw methodNotAllowed();
  }
}

/** RBAC verbs of HTTP methods, if they differ. */
const VERBS: ReadonlyMap<string, string> = new Map([
  ["POST", "create"],
  ["PUT", "update"],
]);

function verbOf({ method }: ApiRequest, query: URLSearchParams, name: string | undefined): string {
  if (method === "GET") return name !== undefined ? "get" : isTrue(query.get("watch")) ? "watch" : "list";
  return VERBS.get(method) ?? method.toLowerCase();
}

interface Target {
  readonly group: string;
  readonly resource: string;
  readonly name: string | undefined;
  readonly namespace?: string | undefined;
}

function targetOf({ group, plural, name, namespace, subresource }: ApiPath): Target {
  return { group, resource: subresource === undefined ? plural : `${plural}/${subresource}`, name, namespace };
}

function assertAllowed({ forbidden, permits }: ApiOptions, request: ApiRequest, target: Target): void {
  const { group, resource, name, namespace } = target;
  const verb = verbOf(request, new URL(request.target, "http://apiserver").searchParams, name);
  const isHeld = permits !== undefined && request.headers.authorization !== undefined;
  if (forbidden?.has(`${verb} ${resource}`) || (isHeld && !permits(verb, resource, namespace, group, name)))
    throw notAllowed({ user: USER, verb, ...target });
}

/** A client with a token is the weftd of the node that the token ends with. A real token contains the node's name. */
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
  const { events, nodes } = options.cluster;
  assertAllowed(options, request, { group: "", resource: "events", name, namespace });
  if (request.method === "GET" && name === undefined) {
    const metadata = { resourceVersion: String(nodes.version) };
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
    return answered(json(200, events.patch(namespace, decodeSegment(name), parseObject(request.body), admit)));
  }
  throw methodNotAllowed();
}

function routeCollection(
  options: ApiOptions,
  request: ApiRequest,
  store: ObjectStore,
  { namespace }: ApiPath,
  query: URLSearchParams,
): Outcome {
  const { kind } = store;
  const tabular = isTabular(kind);
  if (request.method === "POST") {
    if (kind.isNamespaced && namespace === undefined) throw methodNotAllowed();
    const form = negotiateForm(request.headers.accept, "object", tabular);
    return answered(json(201, present(createObject(options.cluster, store, namespace, request), form)));
  }
  if (request.method !== "GET") throw methodNotAllowed();
  const scope = parseScope(kind, namespace, query);
  if (isTrue(query.get("watch"))) {
    const form = negotiateForm(request.headers.accept, "object", tabular);
    return { kind: "watch", store, query: parseWatch(store, query, form, scope) };
  }
  const form = negotiateForm(request.headers.accept, "list", tabular);
  const page = listPage(store, query, scope);
  return answered(json(200, presentList(kind, page.objects, page.metadata, form)));
}

function plainText(status: number, body: string): Answer {
  const headers = { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff" };
  return { status, headers, body };
}

function answered(answer: Answer): Outcome {
  return { kind: "answer", answer };
}

function json(status: number, value: unknown, indent?: number): Answer {
  return { status, headers: { "Content-Type": "application/json" }, body: JSON.stringify(value, null, indent) };
}

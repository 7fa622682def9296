/** Requests for the objects of one resource: pages of a list, a watch, a single object, and writes. */
import { ANSWER_SILENCE_MS, type Connection, type ConnectionRequest } from "./connection.ts";
import { type Advice, KubernetesError } from "./errors.ts";
import { LineSplitter } from "./lines.ts";
import { ListSplitter } from "./list-splitter.ts";
import type { Page, WatchEvent, WatchHandlers, WatchRequest } from "./listwatch.ts";
import {
  acceptOf,
  type Form,
  isObjectOf,
  type KubeObject,
  keyOf,
  type Resource,
  resourcePath,
  type Selection,
} from "./resource.ts";

export interface ListRequest extends Selection {
  readonly form: Form;
  /** The maximum number of objects in one page. */
  readonly limit: number;
  /** `next` of the previous page. Undefined for the first page. */
  readonly next: string | undefined;
}

export interface GetRequest {
  readonly namespace?: string;
  readonly name: string;
  /** The answer may be as old as this version, so the server can use its cache. Default: the current version. */
  readonly version?: string | undefined;
}

export interface PatchRequest {
  /** The attempted operation for error messages: "annotate node n1". */
  readonly operation: string;
  readonly namespace?: string;
  readonly name: string;
  readonly subresource?: string;
  readonly mediaType: typeof MERGE_PATCH | typeof STRATEGIC_MERGE_PATCH;
  readonly patch: object;
}

export interface CreateRequest {
  readonly operation: string;
  readonly namespace?: string;
  readonly object: object;
}

/** JSON merge patch (RFC 7386): replaces lists. */
export const MERGE_PATCH = "application/merge-patch+json";

/** Merges lists whose items have a key: writes one condition and keeps the others. */
export const STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json";

/** All methods throw `KubernetesError`. */
export class ResourceClient {
  readonly resource: Resource;
  readonly #connection: Connection;
  readonly #advice: Advice;

  /** `advice` is added to the advice about the required rights, or replaces it. */
  constructor(connection: Connection, resource: Resource, advice: Advice = {}) {
    const { group, plural } = resource;
    const subject = group === "" ? plural : `${plural}.${group}`;
    this.resource = resource;
    this.#connection = connection;
    this.#advice = { 403: `the account needs get, list and watch on ${subject}`, ...advice };
  }

  /**
   * Returns one page with what `parse` returns for each object. The objects are parsed as they arrive and are not kept,
   * so `parse` is also called for the objects before an error in the page. Throws with status 410 if the server no longer has the list to which `next` belongs, and with 404 if it does not know the resource;
   * see `isNotFound`.
   */
  async listPage<Item>(
    { form, limit, next, ...selection }: ListRequest,
    parse: (object: KubeObject) => Item,
    signal?: AbortSignal,
  ): Promise<Page<Item>> {
    const { plural, kind } = this.resource;
    const operation = `list ${plural}`;
    const query = queryOf(selection, { limit: String(limit), continue: next });
    const path = `${resourcePath(this.resource, selection)}?${query}`;
    const invalid = () => new KubernetesError("protocol", `${operation}: the answer is not a valid ${kind}List`);
    const splitter = new ListSplitter();
    const items: Item[] = [];
    const onBytes = (bytes: Uint8Array) => {
      for (const text of splitter.push(bytes)) {
        const object = parseJson(operation, text);
        if (!this.#isObject(object)) throw invalid();
        items.push(parse(object));
      }
    };
    const request = { operation, method: "GET", path, accept: acceptOf(form, "list"), advice: this.#advice } as const;
    await this.#connection.stream(request, ANSWER_SILENCE_MS, { onOpen: () => undefined, onBytes }, signal);
    const list = parseJson(operation, splitter.list) as { metadata?: ListMetadata; items?: unknown } | null;
    const { metadata, items: listed } = list ?? {};
    // The server encodes an empty list of metadata as null.
    const count = listed === null ? 0 : Array.isArray(listed) ? listed.length : undefined;
    if (!metadata?.resourceVersion || count !== items.length) throw invalid();
    return { items, version: metadata.resourceVersion, next: metadata.continue || undefined };
  }

  /** Resolves when the server ends the watch. An ERROR event is thrown as a refusal with its code. */
  async watch(
    request: WatchRequest & Selection & { readonly form: Form },
    handlers: WatchHandlers<KubeObject>,
    signal?: AbortSignal,
  ): Promise<void> {
    const { form, version, timeoutSeconds, silenceMs } = request;
    const operation = `watch ${this.resource.plural}`;
    const query = queryOf(request, {
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: version,
      timeoutSeconds: String(timeoutSeconds),
    });
    const path = `${resourcePath(this.resource, request)}?${query}`;
    const lines = new LineSplitter();
    await this.#connection.stream(
      { operation, method: "GET", path, accept: acceptOf(form, "object"), advice: this.#advice },
      silenceMs,
      {
        onOpen: () => handlers.onOpen(),
        onBytes: (bytes) => {
          for (const line of lines.push(bytes)) handlers.onEvent(this.#parseEvent(operation, line));
        },
      },
      signal,
    );
    if (lines.isInLine) throw new KubernetesError("connection", `${operation}: the answer ended inside an event`);
  }

  /** Throws with status 404 if the object does not exist; see `isNotFound`. */
  async get({ namespace, name, version }: GetRequest, signal?: AbortSignal): Promise<KubeObject> {
    const operation = `get ${this.resource.kind.toLowerCase()} ${keyOf(namespace, name)}`;
    const query = version === undefined ? "" : `?${new URLSearchParams({ resourceVersion: version })}`;
    const path = `${resourcePath(this.resource, { namespace, name })}${query}`;
    return this.#object({ operation, method: "GET", path }, signal);
  }

  /** Returns the object as the server stored it. */
  async create({ operation, namespace, object }: CreateRequest, signal?: AbortSignal): Promise<KubeObject> {
    const path = resourcePath(this.resource, { namespace });
    const body = { mediaType: "application/json", text: JSON.stringify(object) };
    return this.#object({ operation, method: "POST", path, body }, signal);
  }

  /** Returns the patched object. Throws with status 404 if it does not exist. */
  async patch({ operation, mediaType, patch, ...target }: PatchRequest, signal?: AbortSignal): Promise<KubeObject> {
    const body = { mediaType, text: JSON.stringify(patch) };
    return this.#object({ operation, method: "PATCH", path: resourcePath(this.resource, target), body }, signal);
  }

  async #object(request: ConnectionRequest, signal: AbortSignal | undefined): Promise<KubeObject> {
    const answer = await this.#request(request, signal);
    if (this.#isObject(answer)) return answer;
    throw new KubernetesError("protocol", `${request.operation}: the answer is not a valid ${this.resource.kind}`);
  }

  #request(request: ConnectionRequest, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#connection.request({ ...request, advice: this.#advice }, signal);
  }

  #isObject(value: unknown): value is KubeObject {
    return isObjectOf(this.resource, value);
  }

  #parseEvent(operation: string, line: string): WatchEvent<KubeObject> {
    let event: { type?: unknown; object?: unknown };
    try {
      event = (JSON.parse(line) ?? {}) as typeof event;
    } catch (cause) {
      throw new KubernetesError("protocol", `${operation}: an event is not JSON`, { cause });
    }
    const object = (event.object ?? {}) as { metadata?: { resourceVersion?: string }; code?: number; message?: string };
    const version = object.metadata?.resourceVersion;
    switch (event.type) {
      case "ERROR": {
        const { code = 500, message = "no reason given" } = object;
        throw new KubernetesError("refused", `${operation}: the server ended it: ${code} ${message}`, { status: code });
      }
      case "BOOKMARK":
        if (version) return { type: event.type, version };
        break;
      case "ADDED":
      case "MODIFIED":
      case "DELETED":
        if (version && this.#isObject(object)) return { type: event.type, object, version };
        break;
    }
    throw new KubernetesError("protocol", `${operation}: invalid event: ${line.slice(0, 200)}`);
  }
}

function parseJson(operation: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KubernetesError("protocol", `${operation}: the answer is not JSON`, { cause });
  }
}

interface ListMetadata {
  readonly resourceVersion?: string;
  readonly continue?: string;
}

function queryOf(
  { labelSelector, fieldSelector }: Selection,
  parameters: { readonly [key: string]: string | undefined },
): URLSearchParams {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...parameters, labelSelector, fieldSelector })) {
    if (value !== undefined) query.set(key, value);
  }
  return query;
}

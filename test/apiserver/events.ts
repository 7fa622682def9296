/** Events (core/v1): can be created, changed and listed only. Here they have no watch and no history. */
import { mergePatch } from "./mergepatch.ts";
import { nameOfNew } from "./names.ts";
import { isObject, type JsonObject } from "./resource.ts";
import { ApiError, badRequest } from "./status.ts";

export interface EventStoreOptions {
  readonly nowMs: () => number;
  readonly newUid: () => string;
  /** Returns the version of a new Event. */
  readonly nextVersion: () => number;
}

export class EventStore {
  readonly #options: EventStoreOptions;
  readonly #events = new Map<string, JsonObject>();

  constructor(options: EventStoreOptions) {
    this.#options = options;
  }

  /** The Events of one namespace, or of all; oldest first. */
  list(namespace?: string): JsonObject[] {
    const all = [...this.#events.values()];
    if (namespace === undefined) return all;
    return all.filter(({ metadata }) => isObject(metadata) && metadata.namespace === namespace);
  }

  /** Throws 400 if the body is not an Event, 409 if the name is taken. */
  create(namespace: string, body: JsonObject): JsonObject {
    const { kind = "Event", metadata, involvedObject } = body;
    if (kind !== "Event") throw badRequest(`kind ${JSON.stringify(kind)} is no Event`);
    if (!isObject(metadata)) throw badRequest("metadata is required");
    if (!isObject(involvedObject)) throw badRequest("involvedObject is required");
    if ((metadata.namespace ?? namespace) !== namespace) {
      throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
    }
    const name = nameOfNew(metadata, this.#options.newUid);
    if (this.#events.has(`${namespace}/${name}`)) {
      throw new ApiError(409, "AlreadyExists", `events "${name}" already exists`, { name, kind: "events" });
    }
    const creationTimestamp = new Date(this.#options.nowMs()).toISOString().replace(/\.\d+Z$/, "Z");
    const made = { name, ...metadata, namespace, uid: this.#options.newUid() };
    return this.#put(namespace, name, {
      eventTime: null,
      reportingComponent: "",
      reportingInstance: "",
      ...body,
      kind: "Event",
      apiVersion: "v1",
      metadata: { ...made, creationTimestamp },
    });
  }

  /** Applies a merge patch. Throws 404, and the exceptions of `admit` for the new object. */
  patch(
    namespace: string,
    name: string,
    patch: JsonObject,
    admit: (object: JsonObject, oldObject: JsonObject) => void = () => undefined,
  ): JsonObject {
    const before = this.#events.get(`${namespace}/${name}`);
    if (before === undefined) {
      throw new ApiError(404, "NotFound", `events "${name}" not found`, { name, kind: "events" });
    }
    const after = mergePatch(before, patch) as JsonObject;
    admit(after, before);
    return this.#put(namespace, name, after);
  }

  #put(namespace: string, name: string, event: JsonObject): JsonObject {
    const metadata = isObject(event.metadata) ? event.metadata : {};
    const stored = { ...event, metadata: { ...metadata, resourceVersion: String(this.#options.nextVersion()) } };
    this.#events.set(`${namespace}/${name}`, stored);
    return stored;
  }
}

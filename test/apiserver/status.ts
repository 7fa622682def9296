/**
 * The `Status` object with which kube-apiserver refuses a request, one function per situation. Wording, reason and
 * details are those of a kube-apiserver 1.36 where one was recorded (test/vectors/kube-api), since clients read them.
 */
import type { JsonObject } from "./resource.ts";

export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject | undefined;

  constructor(code: number, reason: string, message: string, details?: JsonObject) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.reason = reason;
    this.details = details;
  }

  /** The body of the answer. */
  toStatus(): JsonObject {
    const status: JsonObject = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      reason: this.reason,
    };
    if (this.details !== undefined) status.details = this.details;
    return { ...status, code: this.code };
  }
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message);
}

export function unauthorized(): ApiError {
  return new ApiError(401, "Unauthorized", "Unauthorized");
}

/** `name` and `namespace` where there is one: a collection is refused as such. */
export function forbidden(user: string, verb: string, resource: string, name?: string, namespace?: string): ApiError {
  const kind = resource.split("/", 1)[0] ?? resource;
  const object = name === undefined ? resource : `${kind} "${name}"`;
  const where = namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const message = `${object} is forbidden: User "${user}" cannot ${verb} resource "${resource}" in API group "" ${where}`;
  return new ApiError(403, "Forbidden", message, name === undefined ? { kind } : { name, kind });
}

/** What an admission policy says no to. */
export function notAdmitted(resource: string, name: string, reason: string): ApiError {
  const [kind = resource] = resource.split("/", 1);
  return new ApiError(422, "Invalid", `${kind} "${name}" is forbidden: ${reason}`, { name, kind });
}

export function nodeNotFound(name: string): ApiError {
  return new ApiError(404, "NotFound", `nodes "${name}" not found`, { name, kind: "nodes" });
}

/** A path that no handler knows. A real server has no name to put in the details either. */
export function pathNotFound(): ApiError {
  return new ApiError(404, "NotFound", "the server could not find the requested resource", {});
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

export function notAcceptable(supported: string): ApiError {
  return new ApiError(406, "NotAcceptable", `only the following media types are accepted: ${supported}`, {});
}

export function alreadyExists(name: string): ApiError {
  return new ApiError(409, "AlreadyExists", `nodes "${name}" already exists`, { name, kind: "nodes" });
}

export function conflict(name: string): ApiError {
  const cause = "the object has been modified; please apply your changes to the latest version and try again";
  const message = `Operation cannot be fulfilled on nodes "${name}": ${cause}`;
  return new ApiError(409, "Conflict", message, { name, kind: "nodes" });
}

/** A watch, or a list at an exact version, from before the history that is still held. */
export function tooOld(version: number, horizon: number): ApiError {
  return new ApiError(410, "Expired", `too old resource version: ${version} (${horizon})`);
}

export function continueExpired(version: number): ApiError {
  return new ApiError(410, "Expired", `continue token of version ${version} has expired: list from the start`);
}

export function unsupportedMediaType(): ApiError {
  return new ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
}

/** `problems`: what is wrong, each with the field it is about. */
export function invalidNode(name: string, problems: readonly { field: string; message: string }[]): ApiError {
  const text = problems.map((problem) => `${problem.field}: ${problem.message}`);
  const message = `Node "${name}" is invalid: ${text.length === 1 ? text[0] : `[${text.join(", ")}]`}`;
  const causes = problems.map(({ field, message }) => ({ reason: "FieldValueInvalid", message, field }));
  return new ApiError(422, "Invalid", message, { name, kind: "Node", causes });
}

/** A version that this server has not reached: it may come from another server that is ahead. */
export function tooLarge(version: number, current: number): ApiError {
  const message = `Timeout: Too large resource version: ${version}, current: ${current}`;
  return new ApiError(504, "Timeout", message, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

/**
 * The `Status` objects of kube-apiserver's errors, one function per situation. Wording, reason and details are those of
 * a recorded kube-apiserver 1.36 if there is a recording (test/vectors/kube-api), since clients read them.
 */
import { type Kind, qualifiedName } from "./kinds.ts";
import type { JsonObject } from "./resource.ts";

/** The part of a kind that errors name. */
type Named = Pick<Kind, "group" | "plural">;

export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: JsonObject | undefined;
  /** True if the answer is the message as plain text, not a Status. */
  readonly isPlain: boolean = false;

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

class PlainError extends ApiError {
  override readonly isPlain = true;
}

export function badRequest(message: string): ApiError {
  return new ApiError(400, "BadRequest", message);
}

export function unauthorized(): ApiError {
  return new ApiError(401, "Unauthorized", "Unauthorized");
}

/** A forbidden action. `name` and `namespace` are absent for a collection. */
export interface Attempt {
  readonly user: string;
  readonly verb: string;
  readonly group: string;
  /** With a subresource: "nodes/status". */
  readonly resource: string;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
}

export function forbidden({ user, verb, group, resource, name, namespace }: Attempt): ApiError {
  const kind = resource.split("/", 1)[0] ?? resource;
  const object = name === undefined ? qualified(group, resource) : `${qualified(group, kind)} "${name}"`;
  const where = namespace === undefined ? "at the cluster scope" : `in the namespace "${namespace}"`;
  const what = `cannot ${verb} resource "${resource}" in API group "${group}" ${where}`;
  return new ApiError(403, "Forbidden", `${object} is forbidden: User "${user}" ${what}`, details(group, kind, name));
}

function qualified(group: string, plural: string): string {
  return qualifiedName({ group, plural });
}

function details(group: string, kind: string, name: string | undefined): JsonObject {
  return { ...(name === undefined ? {} : { name }), ...(group === "" ? {} : { group }), kind };
}

/** A request that an admission policy rejects. */
export function notAdmitted(resource: string, name: string, reason: string): ApiError {
  const [kind = resource] = resource.split("/", 1);
  return new ApiError(422, "Invalid", `${kind} "${name}" is forbidden: ${reason}`, { name, kind });
}

export function notFound(kind: Named, name: string): ApiError {
  return new ApiError(404, "NotFound", `${qualifiedName(kind)} "${name}" not found`, objectDetails(kind, name));
}

function objectDetails({ group, plural }: Named, name: string): JsonObject {
  return details(group, plural, name);
}

/** An unknown path below a served group and version. A real server's details have no name either. */
export function pathNotFound(): ApiError {
  return new ApiError(404, "NotFound", "the server could not find the requested resource", {});
}

/** A path whose group and version are not served: a CRD that is not installed. */
export function groupNotFound(): ApiError {
  return new PlainError(404, "NotFound", "404 page not found\n");
}

export function methodNotAllowed(): ApiError {
  return new ApiError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});
}

export function notAcceptable(supported: string): ApiError {
  return new ApiError(406, "NotAcceptable", `only the following media types are accepted: ${supported}`, {});
}

export function alreadyExists(kind: Named, name: string): ApiError {
  const message = `${qualifiedName(kind)} "${name}" already exists`;
  return new ApiError(409, "AlreadyExists", message, objectDetails(kind, name));
}

export function conflict(kind: Named, name: string): ApiError {
  const cause = "the object has been modified; please apply your changes to the latest version and try again";
  const message = `Operation cannot be fulfilled on ${qualifiedName(kind)} "${name}": ${cause}`;
  return new ApiError(409, "Conflict", message, objectDetails(kind, name));
}

/** A watch, or a list at an exact version, from before the stored history. */
export function tooOld(version: number, horizon: number): ApiError {
  return new ApiError(410, "Expired", `too old resource version: ${version} (${horizon})`);
}

export function continueExpired(version: number): ApiError {
  return new ApiError(410, "Expired", `continue token of version ${version} has expired: list from the start`);
}

export function unsupportedMediaType(): ApiError {
  return new ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {});
}

/** `problems`: the errors, each with its field. */
export function invalid(
  { group, kind }: Pick<Kind, "group" | "kind">,
  name: string,
  problems: readonly { field: string; message: string }[],
): ApiError {
  const text = problems.map((problem) => `${problem.field}: ${problem.message}`);
  const what = group === "" ? kind : `${kind}.${group}`;
  const message = `${what} "${name}" is invalid: ${text.length === 1 ? text[0] : `[${text.join(", ")}]`}`;
  const causes = problems.map(({ field, message }) => ({ reason: "FieldValueInvalid", message, field }));
  return new ApiError(422, "Invalid", message, { ...details(group, kind, name), causes });
}

/** A version that this server has not reached: it may come from another server that is ahead. */
export function tooLarge(version: number, current: number): ApiError {
  const message = `Timeout: Too large resource version: ${version}, current: ${current}`;
  return new ApiError(504, "Timeout", message, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });
}

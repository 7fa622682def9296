/** Errors of communication between this node and the API server. */

/**
 * - `credentials`: the kubeconfig or the service account cannot be used; nothing was sent.
 * - `connection`: the connection failed or broke.
 * - `silence`: connected, but no data arrived for too long.
 * - `refused`: the server answered with an error status.
 * - `protocol`: the answer is invalid.
 */
export type KubernetesErrorCode = "credentials" | "connection" | "silence" | "refused" | "protocol";

export interface KubernetesErrorDetails {
  readonly cause?: unknown;
  /** The HTTP status, or the code of a watch's ERROR event. */
  readonly status?: number;
  /** The delay that the server requested by Retry-After. */
  readonly retryAfterMs?: number;
}

/** The message names the operation, the server, its answer, and what an operator can do. */
export class KubernetesError extends Error {
  readonly code: KubernetesErrorCode;
  readonly status: number | undefined;
  readonly retryAfterMs: number;

  constructor(code: KubernetesErrorCode, message: string, details: KubernetesErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "KubernetesError";
    this.code = code;
    this.status = details.status;
    this.retryAfterMs = details.retryAfterMs ?? 0;
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof KubernetesError && error.status === 404;
}

/**
 * True if a watch that ended with `error` may continue from its last version: the server could not be reached or could
 * not serve. After any other error (mainly 410, but also a long silence or an invalid answer) a new list is required.
 */
export function isResumable(error: unknown): boolean {
  if (!(error instanceof KubernetesError)) return false;
  if (error.code === "connection" || error.code === "credentials") return true;
  const { status = 0 } = error;
  return (
    error.code === "refused" && (status === 401 || status === 403 || status === 408 || status === 429 || status >= 500)
  );
}

/** Advice for the operator, by the status of the answer. */
export type Advice = { readonly [status: number]: string };

/** Advice that does not depend on the request. */
export const GENERAL_ADVICE: Advice = {
  401: "check the token or client certificate in the kubeconfig, or the service account",
};

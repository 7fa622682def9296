/** What can go wrong between this node and the API server. */

/**
 * - `credentials`: the kubeconfig or the service account cannot be used; nothing was sent.
 * - `connection`: no connection, or it broke.
 * - `silence`: connected, but nothing came for too long.
 * - `refused`: the server answered with an error status.
 * - `protocol`: the answer makes no sense.
 */
export type KubernetesErrorCode = "credentials" | "connection" | "silence" | "refused" | "protocol";

export interface KubernetesErrorDetails {
  readonly cause?: unknown;
  /** HTTP status, or the code of a watch's ERROR event. */
  readonly status?: number;
  /** How long the server asked to be left alone. */
  readonly retryAfterMs?: number;
}

/** The message names the attempt, the server, what came back, and what an operator can do. */
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
 * True when a watch that ended with `error` may go on from the version where it stood: the server could not be reached
 * or would not serve now. After anything else (410 above all, but also a long silence or an answer that makes no
 * sense) only a new list shows where things are.
 */
export function isResumable(error: unknown): boolean {
  if (!(error instanceof KubernetesError)) return false;
  if (error.code === "connection" || error.code === "credentials") return true;
  const { status = 0 } = error;
  return (
    error.code === "refused" && (status === 401 || status === 403 || status === 408 || status === 429 || status >= 500)
  );
}

/** What an operator can do about an answer, by its status. */
export type Advice = { readonly [status: number]: string };

/** Advice that does not depend on the request. */
export const GENERAL_ADVICE: Advice = {
  401: "check the token or client certificate in the kubeconfig, or the service account",
};

/** The errors of the CNI protocol, with the numbers of the CNI specification 1.1.0 (section "Error"). */

export const ErrorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  /** Not in the specification. The Go library uses it if CNI_NETNS is the plugin's own namespace. */
  ownNamespace: 8,
  tryAgainLater: 11,
  /** STATUS: no ADD can be served. Runtimes set the node NotReady on this error. */
  notAvailable: 50,
  /** STATUS: ADD is served, but existing containers may have limited connectivity. */
  limitedConnectivity: 51,
  /** Any unexpected error. The Go library uses it for plain errors. */
  internal: 999,
} as const;

export interface CniErrorOptions extends ErrorOptions {
  /** A longer explanation for the reader of the error. */
  readonly details?: string;
}

/**
 * An error as the runtime receives it. Inner layers throw their own errors, plugins convert them to `CniError`, and the
 * loop prints them.
 */
export class CniError extends Error {
  readonly code: number;
  readonly details: string | undefined;

  constructor(code: number, message: string, options?: CniErrorOptions) {
    super(message, options);
    this.name = "CniError";
    this.code = code;
    this.details = options?.details;
  }
}

export function isCniError(error: unknown, ...codes: readonly number[]): error is CniError {
  return error instanceof CniError && (codes.length === 0 || codes.includes(error.code));
}

/** Returns the message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

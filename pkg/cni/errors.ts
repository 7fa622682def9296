/** The errors of the protocol: numbered as the CNI specification 1.1.0 numbers them (section "Error"). */

export const ErrorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  /** Not in the specification's text; the Go library raises it when CNI_NETNS is the plugin's own namespace. */
  ownNamespace: 8,
  tryAgainLater: 11,
  /** STATUS: no ADD can be served. Runtimes make the node NotReady on it. */
  notAvailable: 50,
  /** STATUS: ADD is served, and existing containers may have limited connectivity. */
  limitedConnectivity: 51,
  /** Anything that nobody foresaw; what the Go library gives to plain errors. */
  internal: 999,
} as const;

export interface CniErrorOptions extends ErrorOptions {
  /** A longer explanation, for people. */
  readonly details?: string;
}

/** An error as the runtime sees it. Inner layers throw their own; plugins turn them into these, the loop prints them. */
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

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

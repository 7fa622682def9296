/** Faults that the test API server can simulate. */

export type Fault =
  /** Answers with an error status; if `count` is given, only that many requests. */
  | {
      readonly kind: "refuse";
      readonly status: number;
      readonly retryAfterSeconds?: number;
      readonly count?: number;
    }
  /** Accepts requests and never answers. Open watches send nothing more. */
  | { readonly kind: "hang" }
  /** Answers watches with a valid header and then sends nothing. Open watches send nothing more. */
  | { readonly kind: "mute" }
  /** Ends every watch immediately as too old, so that clients list again. */
  | { readonly kind: "expire" }
  /** Truncates every answer in the middle, and ends it regularly. */
  | { readonly kind: "truncate" };

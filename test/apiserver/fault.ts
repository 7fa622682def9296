/** How the stand-in misbehaves on request. */

export type Fault =
  /** Answers with an error status; where `count` is given, so many requests only. */
  | {
      readonly kind: "refuse";
      readonly status: number;
      readonly retryAfterSeconds?: number;
      readonly count?: number;
    }
  /** Takes requests and never answers; open watches fall silent. */
  | { readonly kind: "hang" }
  /** Answers watches with a good head, and nothing comes after it; open watches fall silent. */
  | { readonly kind: "mute" }
  /** Ends every watch at once as too old, which makes clients list again. */
  | { readonly kind: "expire" }
  /** Ends every answer in its middle, in an orderly way. */
  | { readonly kind: "truncate" };

/** The result of a subcommand: data for programs, blocks for people, and an exit status. Only main.ts prints it. */

/** The exit status. */
export const ExitStatus = {
  done: 0,
  failed: 1,
  usage: 2,
  refused: 3,
  warnings: 4,
  faults: 5,
} as const;
export type ExitStatus = (typeof ExitStatus)[keyof typeof ExitStatus];

/** Shown to operators in `weft --help` and docs/command.md. */
export const EXIT_STATUS_MEANING: Readonly<Record<ExitStatus, string>> = {
  [ExitStatus.done]: "success, or nothing to do",
  [ExitStatus.failed]: "an operation failed; the message says which",
  [ExitStatus.usage]: "the command line is wrong; nothing was changed",
  [ExitStatus.refused]: "the state of the node does not allow it; nothing was changed",
  [ExitStatus.warnings]: "found problems that do not break pods' traffic yet",
  [ExitStatus.faults]: "found problems that break pods' traffic, or soon will",
};

/**
 * The meaning of a text. A terminal shows it as a colour, other outputs do not, so the text must be clear without it.
 */
export type Tone = "good" | "warning" | "bad" | "quiet" | "strong";

export type Cell = string | { readonly text: string; readonly tone: Tone };

/** A table in the format of kubectl. Only the last column may be long: a terminal wraps it. */
export interface Table {
  readonly kind: "table";
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** A paragraph. A terminal wraps it, and indents each line as the first. */
export interface Paragraph {
  readonly kind: "text";
  readonly text: Cell;
  /** The number of spaces before each line. [0] */
  readonly indent?: number;
  /** True if lines are never wrapped, since programs read them. */
  readonly isVerbatim?: boolean;
}

export type Block = Table | Paragraph;

export interface Outcome {
  readonly status: ExitStatus;
  /** The output for people. */
  readonly blocks: readonly Block[];
  /** The same as `blocks` for programs (`-o json`). Only for subcommands that declare `printsData`. */
  readonly data?: unknown;
}

/** The reason why a subcommand failed. */
export class CommandError extends Error {
  readonly status: ExitStatus;
  /** The advice to the operator. */
  readonly remedy: string | undefined;

  constructor(
    message: string,
    { status = ExitStatus.failed, remedy, cause }: { status?: ExitStatus; remedy?: string; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.name = "CommandError";
    this.status = status;
    this.remedy = remedy;
  }
}

export function text(content: Cell, indent = 0): Paragraph {
  return { kind: "text", text: content, indent };
}

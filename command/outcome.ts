/** What a subcommand hands back: data for machines, blocks for people, and how it went. Only main.ts prints it. */

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

/** For operators; `weft --help` and docs/command.md show it. */
export const EXIT_STATUS_MEANING: Readonly<Record<ExitStatus, string>> = {
  [ExitStatus.done]: "done, or nothing to do",
  [ExitStatus.failed]: "something was attempted and failed: the message says what",
  [ExitStatus.usage]: "the command line is wrong: nothing was done",
  [ExitStatus.refused]: "the node's state forbids it: nothing was done",
  [ExitStatus.warnings]: "looked, and found what should be mended some day",
  [ExitStatus.faults]: "looked, and found what breaks pods' traffic, or will",
};

/** How a text is meant; colours on a terminal, nothing elsewhere: never the only carrier of a meaning. */
export type Tone = "good" | "warning" | "bad" | "quiet" | "strong";

export type Cell = string | { readonly text: string; readonly tone: Tone };

/** A table as kubectl prints them. The last column is the one that may be long: on a terminal it is wrapped. */
export interface Table {
  readonly kind: "table";
  readonly head: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** A paragraph; wrapped on a terminal, with each further line indented as the first. */
export interface Paragraph {
  readonly kind: "text";
  readonly text: Cell;
  /** Spaces in front of each line; none when left out. */
  readonly indent?: number;
  /** Never wrapped: for programs. */
  readonly isVerbatim?: boolean;
}

export type Block = Table | Paragraph;

export interface Outcome {
  readonly status: ExitStatus;
  /** For people. */
  readonly blocks: readonly Block[];
  /** The same for machines (`-o json`), for subcommands that declare `printsData`. */
  readonly data?: unknown;
}

/** Why a subcommand could not do what it was asked to. */
export class CommandError extends Error {
  readonly status: ExitStatus;
  /** What to do about it. */
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

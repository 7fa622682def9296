/** The report of a subcommand that changes the node: commands run, failures, and objects left in place. */

import { type Block, text } from "./outcome.ts";

export interface ChangeReport {
  /** The commands as an operator would type them. A command with input on standard input takes several lines. */
  readonly commands: readonly string[];
  readonly failures: readonly string[];
  readonly left: readonly string[];
  readonly isDryRun: boolean;
  /** Printed if there are no commands. */
  readonly nothing: string;
}

export function changeBlocks({ commands, failures, left, isDryRun, nothing }: ChangeReport): Block[] {
  return [
    text(headOf(commands, failures, isDryRun) ?? nothing),
    ...commands.map((command) => (command.includes("\n") ? verbatim(command) : text(command, 2))),
    ...(failures.length === 0
      ? []
      : [text({ text: "Failed:", tone: "bad" as const }), ...failures.map((each) => text(each, 2))]),
    ...(left.length === 0 ? [] : [text("Left in place:"), ...left.map((each) => text(each, 2))]),
    ...(isDryRun && commands.length > 0 ? [text("Nothing was changed.")] : []),
  ];
}

function verbatim(command: string): Block {
  return { kind: "text", text: command, indent: 2, isVerbatim: true };
}

function headOf(commands: readonly string[], failures: readonly string[], isDryRun: boolean): string | undefined {
  if (commands.length === 0) return undefined;
  if (isDryRun) return "Would run:";
  return failures.length > 0 ? "Attempted:" : "Done:";
}

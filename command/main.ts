/**
 * The `weft` command: what an operator calls on a node. It lies in the same file as the plugins and is what that file does
 * when it is called by a name that is no plugin's. This is the only place that prints, and what it returns is the
 * exit status.
 *
 * How a subcommand is written:
 *
 * 1. A folder of its own, `command/<name>/main.ts`, exports a declaration made by `declareSubcommand` (subcommand.ts): name,
 *    group, summary, description, arguments, options, examples. Parsing, help, completion and docs/command.md come from it.
 *    `run(call)` gets `call.arguments` and `call.options` with the declared types; `--dry-run` is `dryRun`.
 * 2. It is added to the list in subcommands.ts.
 * 3. `run` asks the world through `call.system` alone, and returns an `Outcome` (outcome.ts): an exit status, blocks for
 *    people (tables and paragraphs), and with `printsData: true` the same as data for `-o json`. It prints nothing. What it
 *    cannot do it throws as a `CommandError` with a remedy; a `SystemError` or `NetlinkError` may pass through. Long work says what it is at
 *    by `call.progress`.
 * 4. What thinks is apart from what looks: observation in, verdicts or a plan out, with tests beside it. A test of the
 *    whole calls `runCommand(new FakeSystem({ args: ["weft", ...] }), build)` and looks at output and status.
 *
 * The script is loaded at each call, from bytecode: nothing heavy belongs at the top level of a module. QuickJS runs it:
 * no promises, no Date, no console; what is to be known of the system and is not yet in pkg/sys/system.ts is added there.
 */

import { ErrorCode } from "../pkg/cni/errors.ts";
import { isNetlinkError } from "../pkg/netlink/errors.ts";
import { isSystemError } from "../pkg/sys/errors.ts";
import type { System } from "../pkg/sys/system.ts";
import { type CommandLineRequest, examplesText, readCommandLine } from "./command-line.ts";
import { candidatesFor, formatOffer } from "./completions/candidates.ts";
import { COMPLETE } from "./completions/main.ts";
import { jsonText } from "./json.ts";
import { CommandError, EXIT_STATUS_MEANING, ExitStatus, type Outcome } from "./outcome.ts";
import { renderBlocks } from "./rendering.ts";
import type { Build, Call, Example, Subcommand } from "./subcommand.ts";
import { FAMILIES, SUBCOMMANDS } from "./subcommands.ts";
import { versionText } from "./version/main.ts";

/** Where there is no terminal: help is read by people even then. */
const USUAL_COLUMNS = 100;
const ERASE_LINE = "\r\u001b[K";

export const ABOUT =
  `Looks after weft on this node: installs its plugins, shows what they and weftd have done, finds what
keeps pods' traffic from flowing, and removes everything again.`.replace("\n", " ");

/** Serves the command line that `system` has, and returns the exit status. */
export function runCommand(system: System, build: Build, subcommands: readonly Subcommand[] = SUBCOMMANDS): number {
  const [calledBy = "weft", ...words] = system.args;
  if (isCalledAsPlugin(system, words)) return refusePlugin(system, calledBy, build);
  if (words[0] === COMPLETE) {
    system.writeOutput(encode(formatOffer(candidatesFor(words.slice(1), { subcommands, families: FAMILIES, build }))));
    return ExitStatus.done;
  }
  const frame = {
    version: versionText(build),
    about: ABOUT,
    more: MORE,
    families: FAMILIES,
    columns: widthFor(system) ?? USUAL_COLUMNS,
  };
  const request = readCommandLine(words.length === 0 ? ["--help"] : words, subcommands, frame);
  switch (request.kind) {
    case "tell":
      system.writeOutput(encode(request.text));
      return ExitStatus.done;
    case "complain":
      system.writeErrorOutput(encode(request.text.replace(/^error: /, "weft: ")));
      return ExitStatus.usage;
    case "run":
      return serve(request, system, build);
  }
}

function serve(request: CommandLineRequest & { kind: "run" }, system: System, build: Build): ExitStatus {
  const { subcommand, output } = request;
  const progress = new Progress(system);
  const call = {
    system,
    build,
    arguments: request.arguments,
    options: request.options,
    progress: (text: string) => progress.show(text),
  } as Call;
  try {
    const outcome = subcommand.run(call);
    progress.clear();
    system.writeOutput(encode(output === "json" ? jsonOf(outcome) : textOf(outcome, system)));
    return outcome.status;
  } catch (error) {
    progress.clear();
    const { status, lines } = failureOf(error);
    system.writeErrorOutput(encode(`weft ${subcommand.name}: ${lines.join("\n")}\n`));
    return status;
  }
}

function jsonOf({ data }: Outcome): string {
  return `${jsonText(data)}\n`;
}

function textOf({ blocks }: Outcome, system: System): string {
  return renderBlocks(blocks, { columns: widthFor(system), isColoured: isColoured(system) });
}

function failureOf(error: unknown): { status: ExitStatus; lines: string[] } {
  if (error instanceof CommandError) {
    return { status: error.status, lines: [error.message, ...(error.remedy === undefined ? [] : [error.remedy])] };
  }
  if (isSystemError(error) || isNetlinkError(error)) {
    const isForbidden = error.code === "EPERM" || error.code === "EACCES";
    return { status: ExitStatus.failed, lines: [error.message, ...(isForbidden ? ["Run it as root."] : [])] };
  }
  const { message, stack = "" } = error instanceof Error ? error : new Error(String(error));
  return { status: ExitStatus.failed, lines: [`internal error: ${message}`, stack] };
}

/** A line on a terminal that each text overwrites; nothing elsewhere. */
class Progress {
  readonly #system: System;
  readonly #columns: number | undefined;
  #isShown = false;

  constructor(system: System) {
    this.#system = system;
    this.#columns = system.terminalColumns("errorOutput");
  }

  show(text: string): void {
    if (this.#columns === undefined) return;
    const line = this.#columns > 0 ? text.slice(0, this.#columns - 1) : text;
    this.#system.writeErrorOutput(encode(`${ERASE_LINE}${line}`));
    this.#isShown = true;
  }

  clear(): void {
    if (this.#isShown) this.#system.writeErrorOutput(encode(ERASE_LINE));
    this.#isShown = false;
  }
}

/** https://no-color.org: any value but an empty one. */
function isColoured(system: System): boolean {
  const { NO_COLOR = "", TERM = "dumb" } = system.environment;
  return system.terminalColumns("output") !== undefined && NO_COLOR === "" && TERM !== "dumb";
}

/** COLUMNS beats what the terminal says, and alone says it where there is none. */
function widthFor(system: System): number | undefined {
  const asked = Number(system.environment.COLUMNS ?? "");
  if (Number.isInteger(asked) && asked > 0) return asked;
  const columns = system.terminalColumns("output");
  // A terminal of unknown size says 0.
  return columns === 0 ? undefined : columns;
}

/** A runtime found this file under a name that is no plugin's: it must not take help for a result. */
function isCalledAsPlugin(system: System, words: readonly string[]): boolean {
  return words.length === 0 && (system.environment.CNI_COMMAND ?? "") !== "";
}

function refusePlugin(system: System, calledBy: string, build: Build): number {
  const name = calledBy.slice(calledBy.lastIndexOf("/") + 1);
  const error = {
    cniVersion: "1.1.0",
    code: ErrorCode.invalidEnvironment,
    msg: `${calledBy} is weft, called as the plugin "${name}", which it is not`,
    details: `it is: ${build.pluginNames.join(", ")}`,
  };
  system.writeOutput(encode(`${JSON.stringify(error, null, 4)}\n`));
  return ExitStatus.failed;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** What a person does first, and most. */
const FIRST_STEPS: readonly Example[] = [
  { line: "install /opt/cni/bin", about: "put the plugins where the runtime looks" },
  { line: "ipam ls", about: "whose addresses are reserved, and for how long" },
  { line: "cleanup --dry-run", about: "what removing weft from this node would do" },
  { line: "help ipam gc", about: "explain one of them" },
];

export const ENVIRONMENT: Readonly<Record<string, string>> = {
  NO_COLOR: "when not empty, takes the colours away",
  COLUMNS: "how wide lines may be",
};

const MORE = [
  examplesText(FIRST_STEPS),
  "",
  '"weft PLUGIN" calls a plugin, as a file of its name does: by the CNI, with a',
  "configuration on standard input.",
  "",
  "Environment:",
  ...Object.entries(ENVIRONMENT).map(([name, meaning]) => `  ${name.padEnd(8)}  ${meaning}`),
  "",
  "Exit status:",
  ...Object.entries(EXIT_STATUS_MEANING).map(([status, meaning]) => `  ${status}  ${meaning}`),
].join("\n");

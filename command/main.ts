/**
 * The `weft` command: the operator's tool on a node. It is part of the same executable as the plugins, and runs if the
 * executable is called by a name that is not a plugin's. This file is the only one that prints. Its return value is the
 * exit status.
 *
 * To add a subcommand:
 *
 * 1. Create `command/<name>/main.ts`. Export a declaration made by `declareSubcommand` (subcommand.ts): name, group,
 *    summary, description, arguments, options, examples. Parsing, help, completion and docs/command.md are generated
 *    from it. `run(call)` gets `call.arguments` and `call.options` with the declared types; `--dry-run` is `dryRun`.
 *
 * 2. Add it to the list in subcommands.ts.
 *
 * 3. In `run`, access the system through `call.system` only. Return an `Outcome` (outcome.ts): an exit status, blocks
 *    for people (tables and paragraphs), and with `printsData: true` the same as data for `-o json`. Print nothing.
 *    Report failures as a `CommandError` with a remedy; let `SystemError` and `NetlinkError` pass. Report the current
 *    step of long work through `call.progress`.
 *
 * 4. Separate decisions from observation: a pure function takes an observation and returns verdicts or a plan, with
 *    tests in the same folder. To test the whole subcommand, call `runCommand(new FakeSystem({ args: ["weft", ...] }),
 *    build)` and check output and status.
 *
 * The script is loaded from bytecode at each call, so do no expensive work at the top level of a module. QuickJS runs
 * it: there are no promises, no Date and no console. If a subcommand needs a system call that pkg/sys/system.ts does
 * not have, add it there.
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

/** The width of help if there is no terminal. People read help even then. */
const USUAL_COLUMNS = 100;
const ERASE_LINE = "\r\u001b[K";

export const ABOUT =
  `Manages weft on this node: installs its plugins, shows the state of pods and Services, finds what breaks pods'
traffic, and removes weft again.`.replace("\n", " ");

/** Runs the command line of `system`. Returns the exit status. */
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
    return { status: ExitStatus.failed, lines: [error.message, ...(isForbidden ? ["Run the command as root."] : [])] };
  }
  const { message, stack = "" } = error instanceof Error ? error : new Error(String(error));
  return { status: ExitStatus.failed, lines: [`internal error: ${message}`, stack] };
}

/** A line on a terminal that each new text overwrites. Prints nothing if there is no terminal. */
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

/** Follows https://no-color.org: any value but an empty one disables colours. */
function isColoured(system: System): boolean {
  const { NO_COLOR = "", TERM = "dumb" } = system.environment;
  return system.terminalColumns("output") !== undefined && NO_COLOR === "" && TERM !== "dumb";
}

/** COLUMNS takes precedence over the size of the terminal, and applies without a terminal, too. */
function widthFor(system: System): number | undefined {
  const asked = Number(system.environment.COLUMNS ?? "");
  if (Number.isInteger(asked) && asked > 0) return asked;
  const columns = system.terminalColumns("output");
  // A terminal of unknown size reports 0 columns.
  return columns === 0 ? undefined : columns;
}

/**
 * True if a runtime called this file by a name that is not a plugin's. The runtime must not take the help text for a
 * CNI result.
 */
function isCalledAsPlugin(system: System, words: readonly string[]): boolean {
  return words.length === 0 && (system.environment.CNI_COMMAND ?? "") !== "";
}

function refusePlugin(system: System, calledBy: string, build: Build): number {
  const name = calledBy.slice(calledBy.lastIndexOf("/") + 1);
  const error = {
    cniVersion: "1.1.0",
    code: ErrorCode.invalidEnvironment,
    msg: `${calledBy} is weft, and weft has no plugin "${name}"`,
    details: `this file contains: ${build.pluginNames.join(", ")}`,
  };
  system.writeOutput(encode(`${JSON.stringify(error, null, 4)}\n`));
  return ExitStatus.failed;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The commands that most operators run first. */
const FIRST_STEPS: readonly Example[] = [
  { line: "install /opt/cni/bin", about: "install the plugins for the container runtime" },
  { line: "ipam ls", about: "list reserved addresses, their pods and their age" },
  { line: "cleanup --dry-run", about: "show what removing weft would change" },
  { line: "help ipam gc", about: "show help for one subcommand" },
];

export const ENVIRONMENT: Readonly<Record<string, string>> = {
  NO_COLOR: "disables colours, if not empty",
  COLUMNS: "sets the maximum width of lines",
};

const MORE = [
  examplesText(FIRST_STEPS),
  "",
  '"weft PLUGIN" runs a plugin, as calling the executable by the plugin\'s name does.',
  "The plugin reads the CNI environment variables, and a configuration from standard input.",
  "",
  "Environment:",
  ...Object.entries(ENVIRONMENT).map(([name, meaning]) => `  ${name.padEnd(8)}  ${meaning}`),
  "",
  "Exit status:",
  ...Object.entries(EXIT_STATUS_MEANING).map(([status, meaning]) => `  ${status}  ${meaning}`),
].join("\n");

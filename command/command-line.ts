/**
 * Parses a command line into a call of a subcommand, with the commander library. Help and usage errors are returned as
 * text.
 */

import {
  Command,
  Argument as CommanderArgument,
  CommanderError,
  Option as CommanderOption,
  InvalidArgumentError,
} from "commander";
import { type Argument, type Example, flagOf, GROUPS, type Option, type Subcommand } from "./subcommand.ts";

/** The request that a command line makes. */
export type CommandLineRequest =
  | {
      readonly kind: "run";
      readonly subcommand: Subcommand;
      readonly arguments: Readonly<Record<string, unknown>>;
      readonly options: Readonly<Record<string, unknown>>;
      readonly output: "table" | "json";
    }
  /** The user requested help or the version. */
  | { readonly kind: "tell"; readonly text: string }
  /** The command line is wrong. */
  | { readonly kind: "complain"; readonly text: string };

/** Texts and settings that all subcommands share. */
export interface Frame {
  readonly version: string;
  readonly about: string;
  /** Printed after the list of subcommands. */
  readonly more: string;
  /** Descriptions of the first words of two-word subcommands, by that word. */
  readonly families: Readonly<Record<string, string>>;
  /** The width of the terminal. Lines of help are no longer than this. */
  readonly columns: number;
}

/** Parses `words`, the arguments after the program's name. */
export function readCommandLine(
  words: readonly string[],
  subcommands: readonly Subcommand[],
  frame: Frame,
): CommandLineRequest {
  let told = "";
  let complained = "";
  let request: CommandLineRequest | undefined;
  const program = programOf(subcommands, frame, (chosen) => {
    request = chosen;
  });
  const all = (command: Command): Command[] => [command, ...command.commands.flatMap(all)];
  for (const command of all(program)) {
    command.exitOverride().configureOutput({
      writeOut: (text) => {
        told += text;
      },
      writeErr: (text) => {
        complained += text;
      },
      getOutHelpWidth: () => frame.columns,
      getErrHelpWidth: () => frame.columns,
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    });
  }
  try {
    program.parse(withoutHelpWord(words, subcommands), { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: "tell", text: told };
    return { kind: "complain", text: complained };
  }
  if (request === undefined) throw new Error("commander chose no subcommand and threw nothing");
  return request;
}

/** Turns `help ipam gc` into `ipam gc --help`. Unknown names are left for commander to report. */
function withoutHelpWord(words: readonly string[], subcommands: readonly Subcommand[]): string[] {
  const [first, ...name] = words;
  if (first !== "help") return [...words];
  if (name.length === 0) return ["--help"];
  const wanted = name.join(" ");
  const isKnown = subcommands.some(
    (subcommand) => subcommand.name === wanted || subcommand.name.startsWith(`${wanted} `),
  );
  return isKnown ? [...name, "--help"] : name;
}

function programOf(
  subcommands: readonly Subcommand[],
  frame: Frame,
  choose: (request: CommandLineRequest) => void,
): Command {
  const program = new Command("weft")
    .description(frame.about)
    .version(frame.version, "-V, --version", "print version, build and commit")
    .helpOption("-h, --help", "show help for weft, or for the subcommand before it")
    .addHelpCommand(
      new Command("help")
        .argument("[subcommand...]")
        .description("show help for a subcommand")
        .helpOption(false)
        .helpGroup(`${GROUPS.at(-1)}:`),
    )
    .addHelpText("after", `\n${frame.more}`)
    .usage("SUBCOMMAND [options]");
  const families = new Map<string, Command>();
  for (const group of GROUPS) {
    for (const subcommand of subcommands.filter((each) => each.group === group)) {
      const [first = "", second] = subcommand.name.split(" ");
      if (second === undefined) {
        program.addCommand(commandOf(first, subcommand, choose).helpGroup(`${group}:`));
        continue;
      }
      let family = families.get(first);
      if (family === undefined) {
        family = new Command(first)
          .description(frame.families[first] ?? "")
          .usage("SUBCOMMAND [options]")
          .helpOption("-h, --help", "show this help")
          .helpCommand(false)
          .helpGroup(`${group}:`);
        families.set(first, family);
        program.addCommand(family);
      }
      family.addCommand(commandOf(second, subcommand, choose));
    }
  }
  return program;
}

function commandOf(word: string, subcommand: Subcommand, choose: (request: CommandLineRequest) => void): Command {
  const command = new Command(word)
    .summary(subcommand.summary)
    .description(subcommand.description.join("\n\n"))
    .helpOption("-h, --help", "show this help")
    .allowExcessArguments(false)
    .showHelpAfterError(`(see weft ${subcommand.name} --help)`)
    .addHelpText("after", `\n${examplesText(subcommand.examples)}`);
  const names = Object.keys(subcommand.arguments);
  for (const name of names) command.addArgument(argumentOf(subcommand.arguments[name] as Argument));
  for (const [name, option] of Object.entries(subcommand.options)) command.addOption(optionOf(name, option));
  if (subcommand.printsData) command.addOption(OUTPUT());
  return command.action(() => {
    const { output = "table", ...given } = command.opts<{ output?: "table" | "json" }>();
    choose({
      kind: "run",
      subcommand,
      arguments: Object.fromEntries(names.map((name, at) => [name, command.processedArgs[at]])),
      options: { ...notGiven(subcommand), ...withNegations(subcommand, given) },
      output,
    });
  });
}

/** The values of options that are absent from the command line and have no default. */
function notGiven({ options }: Subcommand): Record<string, unknown> {
  const ABSENT = { flag: false, list: [], text: undefined, number: undefined };
  return Object.fromEntries(Object.entries(options).map(([name, { kind }]) => [name, ABSENT[kind]]));
}

/**
 * Renames negated options: commander parses --no-endpoints as `endpoints: false`, but weft declares a flag
 * `noEndpoints`.
 */
function withNegations({ options }: Subcommand, given: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const all = { ...given };
  for (const name of Object.keys(options)) {
    const [, first, rest] = /^no([A-Z])(.*)$/.exec(name) ?? [];
    if (first === undefined) continue;
    const switched = `${first.toLowerCase()}${rest}`;
    all[name] = all[switched] === false;
    delete all[switched];
  }
  return all;
}

const OUTPUT = () =>
  new CommanderOption("-o, --output <FORMAT>", "print a table, or JSON for scripts")
    .choices(["table", "json"])
    .default("table");

function argumentOf({ value, about, isOptional = false, choices }: Argument): CommanderArgument {
  const argument = new CommanderArgument(isOptional ? `[${value}]` : `<${value}>`, about);
  return choices === undefined ? argument.argParser(notEmpty) : argument.choices(choices);
}

function optionOf(name: string, option: Option): CommanderOption {
  const flag = flagOf(name);
  switch (option.kind) {
    case "flag":
      return new CommanderOption(flag, option.about);
    case "number":
      return new CommanderOption(`${flag} <${option.value}>`, option.about)
        .argParser((text) => wholeNumber(text, option.minimum, option.maximum))
        .default(option.default);
    case "list":
      return new CommanderOption(`${flag} <${option.value}>`, option.about).argParser((text) =>
        listOf(text, option.choices),
      );
    case "text": {
      const short = option.short === undefined ? "" : `-${option.short}, `;
      const made = new CommanderOption(`${short}${flag} <${option.value}>`, option.about);
      if (option.choices === undefined) made.argParser(notEmpty);
      else made.choices(option.choices);
      if (option.default !== undefined) made.default(option.default);
      return made;
    }
  }
}

/** Rejects an empty value. It usually comes from an unset shell variable, and must not be taken for the default. */
function notEmpty(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("The value is empty.");
}

function wholeNumber(text: string, minimum: number, maximum: number): number {
  const number = Number(text);
  if (/^[0-9]+$/.test(text) && number >= minimum && number <= maximum) return number;
  throw new InvalidArgumentError(`Expected a whole number from ${minimum} to ${maximum}.`);
}

function listOf(text: string, choices: readonly string[] | undefined): readonly string[] {
  const values = text.split(",").filter((value) => value !== "");
  if (values.length === 0) throw new InvalidArgumentError("The list is empty.");
  const wrong = values.find((value) => choices !== undefined && !choices.includes(value));
  if (wrong === undefined) return values;
  throw new InvalidArgumentError(`"${wrong}" is not one of ${choices?.join(", ")}.`);
}

/** Returns a heading, and one line for each example. */
export function examplesText(examples: readonly Example[]): string {
  const widest = Math.max(...examples.map(({ line }) => line.length));
  const lines = examples.map(({ line, about }) => `  weft ${line.padEnd(widest)}  ${about}`);
  return [examples.length === 1 ? "Example:" : "Examples:", ...lines].join("\n");
}

/** From words to a call of a subcommand, by the commander library; help and complaints come back as text. */

import {
  Command,
  Argument as CommanderArgument,
  CommanderError,
  Option as CommanderOption,
  InvalidArgumentError,
} from "commander";
import { type Argument, type Example, flagOf, GROUPS, type Option, type Subcommand } from "./subcommand.ts";

/** What a command line asks for. */
export type CommandLineRequest =
  | {
      readonly kind: "run";
      readonly subcommand: Subcommand;
      readonly arguments: Readonly<Record<string, unknown>>;
      readonly options: Readonly<Record<string, unknown>>;
      readonly output: "table" | "json";
    }
  /** Help or the version was asked for. */
  | { readonly kind: "tell"; readonly text: string }
  /** The command line is wrong. */
  | { readonly kind: "complain"; readonly text: string };

/** What is common to all: the words around the subcommands. */
export interface Frame {
  readonly version: string;
  readonly about: string;
  /** Behind the list of subcommands. */
  readonly more: string;
  /** Of the first words of subcommands with two. */
  readonly families: Readonly<Record<string, string>>;
  /** Of the terminal; lines of help are no longer. */
  readonly columns: number;
}

/** `words` are what stands behind the program's name. */
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

/** `help ipam gc` is `ipam gc --help`; what is no subcommand stays as it is, and is complained about. */
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
    .helpOption("-h, --help", "explain weft, or behind a subcommand that one")
    .addHelpCommand(
      new Command("help")
        .argument("[subcommand...]")
        .description("explain a subcommand")
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
          .helpOption("-h, --help", "explain it")
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
    .helpOption("-h, --help", "explain it")
    .allowExcessArguments(false)
    .showHelpAfterError(`(weft ${subcommand.name} --help explains it)`)
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

/** What options are that the command line does not name, and that have no default. */
function notGiven({ options }: Subcommand): Record<string, unknown> {
  const ABSENT = { flag: false, list: [], text: undefined, number: undefined };
  return Object.fromEntries(Object.entries(options).map(([name, { kind }]) => [name, ABSENT[kind]]));
}

/** For commander --no-endpoints switches an option `endpoints` off; here it is a flag of its own, `noEndpoints`. */
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
  new CommanderOption("-o, --output <FORMAT>", "a table for people, or JSON for machines")
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

/** An empty word is a script's variable that was never set: it is no directory, and not what is meant by leaving it out. */
function notEmpty(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("It is empty.");
}

function wholeNumber(text: string, minimum: number, maximum: number): number {
  const number = Number(text);
  if (/^[0-9]+$/.test(text) && number >= minimum && number <= maximum) return number;
  throw new InvalidArgumentError(`Expected a whole number from ${minimum} to ${maximum}.`);
}

function listOf(text: string, choices: readonly string[] | undefined): readonly string[] {
  const values = text.split(",").filter((value) => value !== "");
  if (values.length === 0) throw new InvalidArgumentError("It names nothing.");
  const wrong = values.find((value) => choices !== undefined && !choices.includes(value));
  if (wrong === undefined) return values;
  throw new InvalidArgumentError(`"${wrong}" is none of ${choices?.join(", ")}.`);
}

/** A heading, and a line for each. */
export function examplesText(examples: readonly Example[]): string {
  const widest = Math.max(...examples.map(({ line }) => line.length));
  const lines = examples.map(({ line, about }) => `  weft ${line.padEnd(widest)}  ${about}`);
  return [examples.length === 1 ? "Example:" : "Examples:", ...lines].join("\n");
}

/** What a subcommand is: declared once, and from this come its parsing, its help, its completion and its reference. */

import type { System } from "../pkg/sys/system.ts";
import type { Outcome } from "./outcome.ts";

/** What this file was built from. */
export interface Build {
  readonly version: string;
  /** Equal for equal content. */
  readonly id: string;
  /** The commit of the sources; empty where they lay in no repository. */
  readonly commit: string;
  /** The names the file answers to as a plugin. */
  readonly pluginNames: readonly string[];
}

/** What a shell offers for a value. */
export type Completion = "file" | "directory" | readonly string[];

export interface Argument {
  /** As help shows it: DIR. */
  readonly value: string;
  readonly about: string;
  readonly isOptional?: boolean;
  /** The only values it may have. */
  readonly choices?: readonly string[];
  readonly completes?: Completion;
}

/** Absent is false. */
export interface Flag {
  readonly kind: "flag";
  readonly about: string;
}

/** One value; `undefined` where there is no default. */
export interface TextOption {
  readonly kind: "text";
  /** As help shows it: DIR. */
  readonly value: string;
  readonly about: string;
  /** One letter. */
  readonly short?: string;
  readonly default?: string;
  readonly choices?: readonly string[];
  readonly completes?: Completion;
}

/** A whole number, of `minimum` or more and `maximum` or less. */
export interface NumberOption {
  readonly kind: "number";
  readonly value: string;
  readonly about: string;
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** Values with commas between them; none where it is not given. */
export interface ListOption {
  readonly kind: "list";
  /** As help shows it: NAME,... */
  readonly value: string;
  readonly about: string;
  readonly choices?: readonly string[];
  /** This file's plugins. */
  readonly completes?: "plugin";
}

export type Option = Flag | TextOption | NumberOption | ListOption;

/** By their names in camel case: `dryRun` is --dry-run. */
export type Options = Readonly<Record<string, Option>>;
/** In the order of the command line. */
export type Arguments = Readonly<Record<string, Argument>>;

type TextOf<O> = O extends { choices: readonly (infer C extends string)[] } ? C : string;
export type ValueOf<O extends Option> = O extends Flag
  ? boolean
  : O extends NumberOption
    ? number
    : O extends ListOption
      ? readonly TextOf<O>[]
      : O extends { default: string }
        ? TextOf<O>
        : TextOf<O> | undefined;

/** What a subcommand is called with. */
export interface Call<A extends Arguments = Arguments, O extends Options = Options> {
  readonly system: System;
  readonly build: Build;
  readonly arguments: {
    readonly [Name in keyof A]: A[Name] extends { isOptional: true } ? string | undefined : string;
  };
  readonly options: { readonly [Name in keyof O]: ValueOf<O[Name]> };
  /** Tells a person who waits what is being done; seen on a terminal only, and gone once there is an answer. */
  readonly progress: (text: string) => void;
}

export interface Example {
  /** Behind `weft `. */
  readonly line: string;
  readonly about: string;
}

/** The headings of `weft --help`, in their order. */
export const GROUPS = ["Look", "Change this node", "The command itself"] as const;
export type Group = (typeof GROUPS)[number];

export interface Declaration<A extends Arguments, O extends Options> {
  /** One word, or two: `ipam ls`. */
  readonly name: string;
  readonly group: Group;
  /** One line, without a full stop. */
  readonly summary: string;
  /** Paragraphs. */
  readonly description: readonly string[];
  readonly arguments: A;
  readonly options: O;
  readonly examples: readonly Example[];
  /** Has the option `-o table|json`: `Outcome.data` is then printed for machines. */
  readonly printsData: boolean;
  /** Throws `CommandError`; what the kernel refuses (`SystemError`, `NetlinkError`) is told as it is. */
  run(call: Call<A, O>): Outcome;
}

/** Any of them: its own types are known inside `run` alone. */
export type Subcommand = Declaration<Arguments, Options>;

/** Gives `run` the types that the declared arguments and options have. */
export function declareSubcommand<const A extends Arguments, const O extends Options>(
  declaration: Declaration<A, O>,
): Subcommand {
  return declaration as unknown as Subcommand;
}

/** --dry-run of `dryRun`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

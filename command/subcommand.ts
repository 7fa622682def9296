/** The declaration of a subcommand. Parsing, help, completion and the reference in docs/ are generated from it. */

import type { System } from "../pkg/sys/system.ts";
import type { Outcome } from "./outcome.ts";

/** Identifies the sources this file was built from. */
export interface Build {
  readonly version: string;
  /** Equal for equal content. */
  readonly id: string;
  /** The commit of the sources. Empty if the sources were in no repository. */
  readonly commit: string;
  /** The names of the plugins that the file contains. */
  readonly pluginNames: readonly string[];
}

/** The candidates that a shell offers for a value. */
export type Completion = "file" | "directory" | readonly string[];

export interface Argument {
  /** The placeholder that help shows, such as DIR. */
  readonly value: string;
  readonly about: string;
  readonly isOptional?: boolean;
  /** The only allowed values. */
  readonly choices?: readonly string[];
  readonly completes?: Completion;
}

/** An option without a value: false if absent. */
export interface Flag {
  readonly kind: "flag";
  readonly about: string;
}

/** An option with one value: `undefined` if absent and without a default. */
export interface TextOption {
  readonly kind: "text";
  /** The placeholder that help shows, such as DIR. */
  readonly value: string;
  readonly about: string;
  /** One letter. */
  readonly short?: string;
  readonly default?: string;
  readonly choices?: readonly string[];
  readonly completes?: Completion;
}

/** A whole number between `minimum` and `maximum`, both included. */
export interface NumberOption {
  readonly kind: "number";
  readonly value: string;
  readonly about: string;
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
}

/** A list of values separated by commas. Empty if absent. */
export interface ListOption {
  readonly kind: "list";
  /** The placeholder that help shows, such as NAME,... */
  readonly value: string;
  readonly about: string;
  readonly choices?: readonly string[];
  /** Completes to the names of this file's plugins. */
  readonly completes?: "plugin";
}

export type Option = Flag | TextOption | NumberOption | ListOption;

/** Options by their names in camel case: `dryRun` is --dry-run. */
export type Options = Readonly<Record<string, Option>>;
/** Arguments in the order of the command line. */
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

/** The input of a subcommand. */
export interface Call<A extends Arguments = Arguments, O extends Options = Options> {
  readonly system: System;
  readonly build: Build;
  readonly arguments: {
    readonly [Name in keyof A]: A[Name] extends { isOptional: true } ? string | undefined : string;
  };
  readonly options: { readonly [Name in keyof O]: ValueOf<O[Name]> };
  /** Shows the current step to a waiting person. Shown on a terminal only, and erased before the result is printed. */
  readonly progress: (text: string) => void;
}

export interface Example {
  /** The command line after `weft `. */
  readonly line: string;
  readonly about: string;
}

/** The headings of `weft --help`, in this order. */
export const GROUPS = ["Inspect", "Change this node", "Other"] as const;
export type Group = (typeof GROUPS)[number];

export interface Declaration<A extends Arguments, O extends Options> {
  /** One word or two, such as `ipam ls`. */
  readonly name: string;
  readonly group: Group;
  /** One line, without a full stop. */
  readonly summary: string;
  /** One string for each paragraph. */
  readonly description: readonly string[];
  readonly arguments: A;
  readonly options: O;
  readonly examples: readonly Example[];
  /** True if the subcommand has the option `-o table|json`, which prints `Outcome.data` as JSON. */
  readonly printsData: boolean;
  /** Throws `CommandError`. Errors of the kernel (`SystemError`, `NetlinkError`) are printed unchanged. */
  run(call: Call<A, O>): Outcome;
}

/** Any subcommand. The types of its arguments and options are known inside `run` only. */
export type Subcommand = Declaration<Arguments, Options>;

/** Gives `run` the types of the declared arguments and options. */
export function declareSubcommand<const A extends Arguments, const O extends Options>(
  declaration: Declaration<A, O>,
): Subcommand {
  return declaration as unknown as Subcommand;
}

/** Returns the flag of an option: --dry-run for `dryRun`. */
export function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

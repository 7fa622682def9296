/** Computes the candidates that a shell offers for the word being typed, from the declarations of subcommands. Pure. */

import { type Build, type Completion, flagOf, type Option, type Subcommand } from "../subcommand.ts";

export interface Candidate {
  readonly value: string;
  /** Empty if there is no description. */
  readonly about: string;
}

/** For "files" and "directories", the shell lists the candidates itself. */
export type Offer =
  | { readonly kind: "files" | "directories" }
  | { readonly kind: "values"; readonly values: readonly Candidate[] };

const NOTHING: Offer = { kind: "values", values: [] };
const OUTPUT: Option = {
  kind: "text",
  short: "o",
  value: "FORMAT",
  about: "print a table, or JSON for scripts",
  choices: ["table", "json"],
};
const HELP: Candidate = { value: "--help", about: "show this help" };

export interface Known {
  readonly subcommands: readonly Subcommand[];
  readonly families: Readonly<Record<string, string>>;
  readonly build: Build;
}

/** Returns the candidates. `words` follow the program's name, and end with the word being typed, which may be empty. */
export function candidatesFor(words: readonly string[], known: Known): Offer {
  const joined = withoutEquals(words);
  const typed = joined.at(-1) ?? "";
  const before = joined.slice(0, -1);
  // The names after "help" complete as without it.
  const isHelp = before[0] === "help";
  const names = isHelp ? before.slice(1) : before;
  const subcommand = known.subcommands.find(({ name }) => isSubcommand(names, name));
  const offer =
    subcommand === undefined
      ? namesBehind(names, known, isHelp)
      : isHelp
        ? NOTHING
        : insideOf(subcommand, names, typed, known);
  if (offer.kind !== "values") return offer;
  return { kind: "values", values: offer.values.filter(({ value }) => value.startsWith(typed)) };
}

/** Joins what bash splits: it passes "--data-dir=x" as three words. */
function withoutEquals(words: readonly string[]): string[] {
  const kept = words.filter((word, at) => word !== "=" || !(words[at - 1] ?? "").startsWith("--"));
  return words.at(-1) === "=" && kept.length < words.length ? [...kept, ""] : kept;
}

function isSubcommand(words: readonly string[], name: string): boolean {
  return name.split(" ").every((part, at) => words[at] === part);
}

/** Returns names that may follow these words. */
function namesBehind(words: readonly string[], { subcommands, families }: Known, isHelp: boolean): Offer {
  const next = new Map<string, string>();
  for (const { name, summary } of subcommands) {
    const parts = name.split(" ");
    const part = parts[words.length];
    if (part === undefined || !words.every((word, at) => word === parts[at])) continue;
    next.set(part, parts.length === words.length + 1 ? summary : (families[part] ?? ""));
  }
  const values = [...next].map(([value, about]) => ({ value, about }));
  if (isHelp || next.size === 0) return { kind: "values", values };
  const always =
    words.length > 0
      ? [HELP]
      : [
          { value: "help", about: "show help for a subcommand" },
          HELP,
          { value: "--version", about: "print version, build and commit" },
        ];
  return { kind: "values", values: [...values, ...always] };
}

function insideOf(subcommand: Subcommand, words: readonly string[], typed: string, { build }: Known): Offer {
  const options = new Map<string, Option>(
    Object.entries(subcommand.options).map(([name, option]) => [flagOf(name), option]),
  );
  if (subcommand.printsData) options.set("--output", OUTPUT);
  for (const [, option] of [...options])
    if (option.kind === "text" && option.short !== undefined) options.set(`-${option.short}`, option);
  const rest = words.slice(subcommand.name.split(" ").length);
  const given: string[] = [];
  let open: Option | undefined;
  let position = 0;
  for (const word of rest) {
    if (open !== undefined) open = undefined;
    else if (word.startsWith("-")) {
      const [flag = ""] = word.split("=");
      given.push(flag);
      const option = options.get(flag);
      if (option !== undefined && option.kind !== "flag" && flag === word) open = option;
    } else position++;
  }
  if (open !== undefined) return valuesOf(open, typed, build);
  const inOne = /^(--[a-z-]+)=(.*)$/.exec(typed);
  const option = inOne?.[1] === undefined ? undefined : options.get(inOne[1]);
  if (option !== undefined) return prefixed(`${inOne?.[1]}=`, valuesOf(option, inOne?.[2] ?? "", build));
  if (typed.startsWith("-")) {
    const long = [...options].filter(([flag]) => flag.startsWith("--") && !given.includes(flag));
    return { kind: "values", values: [...long.map(([value, { about }]) => ({ value, about })), HELP] };
  }
  const argument = Object.values(subcommand.arguments)[position];
  return argument === undefined ? NOTHING : offerOf(argument.choices ?? argument.completes);
}

function valuesOf(option: Option, typed: string, build: Build): Offer {
  switch (option.kind) {
    case "flag":
    case "number":
      return NOTHING;
    case "text":
      return offerOf(option.choices ?? option.completes);
    case "list": {
      const done = typed.slice(0, typed.lastIndexOf(",") + 1);
      const all = option.choices ?? (option.completes === "plugin" ? build.pluginNames : []);
      const left = all.filter((name) => !done.split(",").includes(name));
      return { kind: "values", values: left.map((name) => ({ value: done + name, about: "" })) };
    }
  }
}

function offerOf(completion: Completion | undefined): Offer {
  if (completion === "file") return { kind: "files" };
  if (completion === "directory") return { kind: "directories" };
  return { kind: "values", values: (completion ?? []).map((value) => ({ value, about: "" })) };
}

function prefixed(start: string, offer: Offer): Offer {
  if (offer.kind !== "values") return NOTHING;
  return { kind: "values", values: offer.values.map(({ value, about }) => ({ value: start + value, about })) };
}

/**
 * Formats the offer for the shells' scripts: the kind, then one line for each value, with its description after a tab.
 */
export function formatOffer(offer: Offer): string {
  const lines =
    offer.kind === "values"
      ? offer.values.map(({ value, about }) => (about === "" ? value : `${value}\t${about}`))
      : [];
  return [offer.kind, ...lines, ""].join("\n");
}

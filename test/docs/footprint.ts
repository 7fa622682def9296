/** Generates docs/footprint.md from the constants of pkg/footprint.ts and their docstrings. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as footprint from "../../pkg/footprint.ts";
import { code, table } from "./markdown.ts";

const SOURCE = readFileSync(join(import.meta.dirname, "../../pkg/footprint.ts"), "utf8");

export function footprintText(): string {
  return `# What weft uses on a node

Generated from \`pkg/footprint.ts\` (\`npm run docs\`). This page lists every name, path, mark, priority and number that weft uses on a
node. If a value is called a default, a flag or a configuration key can replace it. If a value is only the beginning of a name, the
meaning says what follows. \`weft cleanup\` removes weft's objects ([command.md](command.md#weft-cleanup)).

${groups()
  .map(({ heading, constants }) => `## ${heading}\n\n${table(["value", "meaning"], constants.map(rowOf))}`)
  .join("\n\n")}
`;
}

interface Constant {
  readonly name: string;
  readonly meaning: string;
}

/** Returns the constants by heading. Throws if a constant has no heading or docstring, so that the page omits none. */
export function groups(source = SOURCE): { heading: string; constants: Constant[] }[] {
  const found: { heading: string; constants: Constant[] }[] = [];
  for (const [, heading, docstring, name] of source.matchAll(
    /^\/\/ # (.+)$|(?:^\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n)?^export const (\w+)/gm,
  )) {
    const group = found.at(-1);
    if (heading !== undefined) found.push({ heading, constants: [] });
    else if (group === undefined || docstring === undefined)
      throw new Error(`pkg/footprint.ts: ${name} lacks a heading or a docstring`);
    else group.constants.push({ name: name as string, meaning: docstring.replaceAll(/\s*\n \*\s*/g, " ").trim() });
  }
  return found;
}

function rowOf({ name, meaning }: Constant): string[] {
  return [
    textsOf((footprint as Readonly<Record<string, unknown>>)[name])
      .map(code)
      .join(", "),
    meaning,
  ];
}

function textsOf(value: unknown): string[] {
  if (typeof value === "number") return [value < 2 ** 16 ? String(value) : `0x${value.toString(16)}`];
  if (typeof value !== "object" || value === null) return [String(value)];
  if (Array.isArray(value) && value[0] === "net") return [value.join(".")];
  return Object.values(value).flatMap(textsOf);
}

/** docs/footprint.md, made of the constants of pkg/footprint.ts and what is written above each. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as footprint from "../../pkg/footprint.ts";
import { code, table } from "./markdown.ts";

const SOURCE = readFileSync(join(import.meta.dirname, "../../pkg/footprint.ts"), "utf8");

export function footprintText(): string {
  return `# What weft uses on a node

Made from the code (\`npm run docs\`): names, paths, marks, priorities and numbers, as \`pkg/footprint.ts\` has them. A flag or
a key of a configuration replaces what is called a default. Where a value only begins a name, the meaning says what follows.
\`weft cleanup\` removes weft's part of it ([command.md](command.md)).

${groups()
  .map(({ heading, constants }) => `## ${heading}\n\n${table(["value", "meaning"], constants.map(rowOf))}`)
  .join("\n\n")}
`;
}

interface Constant {
  readonly name: string;
  readonly meaning: string;
}

/** Constants by the heading that they stand under. Throws where one has no heading or docstring, so that none is left out. */
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

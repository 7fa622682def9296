/** Blocks as text for a person: as wide as the terminal, coloured where that is wanted, plain and unbroken elsewhere. */

import CliTable from "cli-table3";
import type { Block, Cell, Paragraph, Table, Tone } from "./outcome.ts";

export interface Look {
  /** Of the terminal; `undefined` where there is none: nothing is wrapped then. */
  readonly columns: number | undefined;
  readonly isColoured: boolean;
}

/** Select Graphic Rendition (ECMA-48, 8.3.117). */
const SGR: Readonly<Record<Tone, number>> = { good: 32, warning: 33, bad: 31, quiet: 2, strong: 1 };

/** Between two columns. */
const GAP = 2;
/** A last column narrower than this is not wrapped: the terminal's own breaking reads better. */
const NARROWEST_LAST = 24;

/** Ends with a newline, unless there is nothing. */
export function renderBlocks(blocks: readonly Block[], look: Look): string {
  return blocks.map((block) => (block.kind === "table" ? renderTable(block, look) : renderText(block, look))).join("");
}

function renderText({ text, indent = 0, isVerbatim = false }: Paragraph, look: Look): string {
  const margin = " ".repeat(indent);
  const columns = look.columns === undefined || isVerbatim ? undefined : look.columns - indent;
  const lines = plainOf(text)
    .split("\n")
    .flatMap((line) => wrap(line, columns));
  return lines.map((line) => `${line === "" ? "" : margin}${paint(line, toneOf(text), look)}\n`).join("");
}

function renderTable({ head, rows }: Table, look: Look): string {
  const cells = [
    head.map((title) => paint(title, "quiet", look)),
    ...rows.map((row) => row.map((cell) => paint(plainOf(cell), toneOf(cell), look))),
  ];
  const last = lastWidth(cells, head.length, look.columns);
  const text = layOut(cells, last === undefined ? undefined : [...Array(head.length - 1).fill(null), last]);
  return text
    .split("\n")
    .map((line) => `${line.trimEnd()}\n`)
    .join("");
}

/** What is left for the last column; `undefined` where it may be as wide as it is. */
function lastWidth(cells: readonly string[][], count: number, columns: number | undefined): number | undefined {
  // The gap behind the last column is nowhere seen.
  if (columns === undefined || widthOf(layOut(cells)) - GAP <= columns) return undefined;
  const others = count === 1 ? 0 : widthOf(layOut(cells.map((row) => row.slice(0, -1))));
  return columns - others >= NARROWEST_LAST ? columns - others + GAP : undefined;
}

function layOut(cells: readonly string[][], colWidths?: (number | null)[]): string {
  const table = new CliTable({
    chars: BLANK,
    style: { head: [], border: [], "padding-left": 0, "padding-right": GAP },
    ...(colWidths === undefined ? {} : { colWidths, wordWrap: true }),
  });
  for (const row of cells) table.push(row);
  return table.toString();
}

/** Without any lines. */
const BLANK = Object.fromEntries(
  ["top", "bottom", "left", "right"]
    .flatMap((side) => [
      side,
      `${side}-mid`,
      ...(side === "top" || side === "bottom" ? [`${side}-left`, `${side}-right`] : []),
    ])
    .concat("mid", "mid-mid", "middle")
    .map((name) => [name, ""]),
);

/** Of its first line, colours aside; all lines are padded to one width. */
function widthOf(table: string): number {
  const [first = ""] = table.split("\n");
  return withoutColours(first).length;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: that is how colours begin
const COLOUR = /\u001b\[[0-9;]*m/g;

function withoutColours(text: string): string {
  return text.replace(COLOUR, "");
}

function paint(text: string, tone: Tone | undefined, { isColoured }: Look): string {
  return tone === undefined || !isColoured || text === "" ? text : `\u001b[${SGR[tone]}m${text}\u001b[0m`;
}

function plainOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text;
}

function toneOf(cell: Cell): Tone | undefined {
  return typeof cell === "string" ? undefined : cell.tone;
}

/** Breaks at spaces; a longer word stays whole. */
function wrap(line: string, columns: number | undefined): string[] {
  if (columns === undefined || line.length <= columns) return [line];
  const lines: string[] = [];
  let current = "";
  for (const word of line.split(" ")) {
    if (current !== "" && current.length + 1 + word.length > columns) {
      lines.push(current);
      current = word;
    } else current = current === "" ? word : `${current} ${word}`;
  }
  return [...lines, current];
}

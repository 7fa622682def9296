/**
 * Renders blocks as text for people: as wide as the terminal and coloured if enabled; without a terminal, plain and
 * unwrapped.
 */

import type { Block, Cell, Paragraph, Table, Tone } from "./outcome.ts";

export interface Look {
  /** The width of the terminal. Undefined if there is none; nothing is wrapped then. */
  readonly columns: number | undefined;
  readonly isColoured: boolean;
}

/** Select Graphic Rendition (ECMA-48, 8.3.117). */
const SGR: Readonly<Record<Tone, number>> = { good: 32, warning: 33, bad: 31, quiet: 2, strong: 1 };

/** The number of spaces between two columns. */
const GAP = 2;
/** A last column narrower than this is not wrapped, since the terminal's own line breaks are easier to read. */
const NARROWEST_LAST = 24;

/** The text ends with a newline, unless it is empty. */
export function renderBlocks(blocks: readonly Block[], look: Look): string {
  return blocks.map((block) => (block.kind === "table" ? renderTable(block, look) : renderText(block, look))).join("");
}

function renderText({ text, indent = 0, isVerbatim = false }: Paragraph, look: Look): string {
  const margin = " ".repeat(indent);
  const columns = look.columns === undefined || isVerbatim ? undefined : look.columns - indent;
  const lines = textOf(text)
    .split("\n")
    .flatMap((line) => wrap(isVerbatim ? line : withoutControls(line), columns));
  return lines.map((line) => `${line === "" ? "" : margin}${paint(line, toneOf(text), look)}\n`).join("");
}

function renderTable({ head, rows }: Table, look: Look): string {
  const cells: readonly (readonly Cell[])[] = [head.map((title): Cell => ({ text: title, tone: "quiet" })), ...rows];
  const widths = head.map((_, at) =>
    cells.reduce((widest, row) => Math.max(widest, widthOf(plainOf(row[at] ?? ""))), 0),
  );
  const last = lastWidth(widths, look.columns);
  return cells.flatMap((row) => layOut(row, widths, last, look).map((line) => `${line.trimEnd()}\n`)).join("");
}

/** Returns the width that is left for the last column. Undefined if the column need not be wrapped. */
function lastWidth(widths: readonly number[], columns: number | undefined): number | undefined {
  const last = widths.at(-1);
  if (columns === undefined || last === undefined) return undefined;
  const others = widthBefore(widths);
  return others + last > columns && columns - others >= NARROWEST_LAST ? columns - others : undefined;
}

function widthBefore(widths: readonly number[]): number {
  return widths.slice(0, -1).reduce((sum, width) => sum + width + GAP, 0);
}

/** Returns the lines of a row. Only widths are computed, so thousands of rows take no noticeable time. */
function layOut(row: readonly Cell[], widths: readonly number[], last: number | undefined, look: Look): string[] {
  const front = row.slice(0, -1).map((cell, at) => {
    const plain = plainOf(cell);
    return `${paint(plain, toneOf(cell), look)}${" ".repeat((widths[at] ?? 0) + GAP - widthOf(plain))}`;
  });
  const cell = row.at(-1) ?? "";
  const parts = wrap(plainOf(cell), last).map((part) => paint(part, toneOf(cell), look));
  const margin = " ".repeat(widthBefore(widths));
  return parts.map((part, at) => (at === 0 ? `${front.join("")}${part}` : `${margin}${part}`));
}

/** Characters that take two columns of a terminal: the blocks of Unicode's UAX #11 in which all characters are wide. */
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/g;
const PLAIN = /^[\x20-\x7e]*$/;
/**
 * C0, DEL and C1 (ECMA-48). A terminal would obey them, and cells show text that other programs wrote into files and
 * links.
 */
const CONTROL = /\p{Cc}/gu;
const REPLACEMENT = "\ufffd";

/**
 * Returns the width in columns of a terminal. Outside the basic multilingual plane, a character of two columns has two
 * UTF-16 units.
 */
function widthOf(text: string): number {
  return PLAIN.test(text) ? text.length : text.length + (text.match(WIDE)?.length ?? 0);
}

function paint(text: string, tone: Tone | undefined, { isColoured }: Look): string {
  return tone === undefined || !isColoured || text === "" ? text : `\u001b[${SGR[tone]}m${text}\u001b[0m`;
}

/** Returns the text of a table's cell: one line. */
function plainOf(cell: Cell): string {
  return withoutControls(textOf(cell));
}

function withoutControls(text: string): string {
  return PLAIN.test(text) ? text : text.replace(CONTROL, REPLACEMENT);
}

function textOf(cell: Cell): string {
  return typeof cell === "string" ? cell : cell.text;
}

function toneOf(cell: Cell): Tone | undefined {
  return typeof cell === "string" ? undefined : cell.tone;
}

/** Breaks lines at spaces. A word longer than a line is not broken. */
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

/** Tables of Markdown, as GitHub reads them. */

/** A cell's bar would end it. */
const cell = (text: string) => text.replaceAll("|", "\\|");

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(head), `|${head.map(() => "---").join("|")}|`, ...rows.map(line)].join("\n");
}

export const code = (text: string) => `\`${text}\``;

/** Formats the licences of third-party works, which are distributed with the files. */
import type { Ingredient } from "./ingredients.ts";

const RULE = "-".repeat(80);

export function formatNotices(ingredients: readonly Ingredient[]): string {
  const sections = ingredients.map(({ name, version, licence, notices }) =>
    [`${name} ${version}`, `License: ${licence}`, "", ...notices.map((text) => text.trimEnd())].join("\n").trimEnd(),
  );
  return `${["weft contains parts of the following works.", ...sections].join(`\n\n${RULE}\n`)}\n`;
}

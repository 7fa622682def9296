/** Comments and documents keep to CONTRIBUTING.md's section on style, as far as words show it. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { findWords, proseLines } from "./prose.ts";

/** Recorded data, and text that this test or a page quotes as an example of what not to write. */
const EXCLUDED = /^(?:test\/vectors\/|test\/lint\/prose)/;

const ROOT = join(import.meta.dirname, "../..");
const files = globSync(["{pkg,plugins,command,daemon,hack,test}/**/*.{ts,c,h,md}", "*.md", "{conf,docs}/**/*.md"], {
  cwd: ROOT,
}).filter((path) => !EXCLUDED.test(path));

test("no comment or page has a word that the style section rules out", () => {
  const found = files.flatMap((path) =>
    findWords(proseLines(path, readFileSync(join(ROOT, path), "utf8"))).map(
      ({ line, word, instead }) => `${path}:${line}: "${word}": ${instead}`,
    ),
  );
  expect(found).toEqual([]);
});

test("finds words in comments and pages, and leaves code and quotations alone", () => {
  const source =
    '/**\n * Somebody did it.\n */\nconst nobody = "whoever"; // whoever\n// Of a node the name.\n/* `anew` */';
  expect(findWords(proseLines("a.ts", source)).map(({ line, word }) => `${line} ${word}`)).toEqual([
    "2 Somebody",
    "5 Of a",
  ]);
  const page = "Nobody.\n\n```sh\nnobody\n```\n";
  expect(findWords(proseLines("a.md", page)).map(({ line }) => line)).toEqual([1]);
});

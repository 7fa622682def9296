/** No source is longer than 400 lines, unless the comment at its head gives the reason (after `REASON`). */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOT = join(import.meta.dirname, "../..");
const LIMIT = 400;
const REASON = "Longer than 400 lines: ";

/** The reason for rejecting the source; undefined if it is allowed. */
function complaint(source: string): string | undefined {
  const lines = source.trimEnd().split("\n").length;
  const head = /^\/\*\*(?:(?!\*\/)[\s\S])*\*\//.exec(source)?.[0] ?? "";
  const hasReason = head.replaceAll(/\n \* ?/g, " ").includes(REASON);
  if (lines > LIMIT && !hasReason)
    return `${lines} lines: split it, or begin a line of its head comment with "${REASON}..."`;
  return lines <= LIMIT && hasReason ? `${lines} lines: it no longer needs a reason` : undefined;
}

test("every source has at most 400 lines, or a reason at its head", () => {
  const files = globSync("{pkg,plugins,command,daemon,hack,test}/**/*.ts", { cwd: ROOT });
  const refused = files.flatMap((file) => {
    const why = complaint(readFileSync(join(ROOT, file), "utf8"));
    return why === undefined ? [] : [`${file}: ${why}`];
  });
  expect(refused).toEqual([]);
});

test.each([
  ["400 lines", "x;\n".repeat(400), undefined],
  ["401 lines", "x;\n".repeat(401), expect.stringContaining("401 lines: split it")],
  ["401 lines with a reason", `/**\n * A table. ${REASON}\n * it is one.\n */\n${"x;\n".repeat(401)}`, undefined],
  ["a reason that is not at the head", `x;\n/** ${REASON}y */\n${"x;\n".repeat(401)}`, expect.any(String)],
  ["400 lines with a reason", `/** ${REASON}once. */\nx;\n`, expect.stringContaining("no longer needs a reason")],
])("%s", (_name, source, expected) => {
  expect(complaint(source)).toEqual(expected);
});

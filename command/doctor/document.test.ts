import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { CHECKS } from "./checks/all.ts";

test("docs/looking.md lists every check with its description", () => {
  const document = readFileSync(new URL("../../docs/looking.md", import.meta.url), "utf8");
  const listed = document.split("\n").filter((line) => /^\| [a-z ]+ \| `/.test(line));
  expect(listed).toEqual(CHECKS.map(({ group, name, about }) => `| ${group} | \`${name}\` | ${about} |`));
  expect(document).toContain(`n1 is healthy: ${CHECKS.length} checks, 1 peer`);
});

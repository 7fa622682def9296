/**
 * The generated pages match the code (`npm run docs` writes them), links lead to existing files and headings, and messages
 * and sources that a page names exist.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { expect, test } from "vitest";
import { CHECKS } from "../../command/doctor/checks/all.ts";
import { commandText } from "./command.ts";
import { configurationText } from "./configuration.ts";
import { footprintText } from "./footprint.ts";
import { observationText } from "./observation.ts";

const ROOT = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

test("docs/configuration.md matches the code", async () => {
  await expect(configurationText()).toMatchFileSnapshot(join(ROOT, "docs/configuration.md"));
});

test("docs/command.md matches the code", async () => {
  await expect(commandText()).toMatchFileSnapshot(join(ROOT, "docs/command.md"));
});

test("docs/observation.md matches the code", async () => {
  await expect(await observationText()).toMatchFileSnapshot(join(ROOT, "docs/observation.md"));
});

test("docs/footprint.md matches the code", async () => {
  await expect(footprintText()).toMatchFileSnapshot(join(ROOT, "docs/footprint.md"));
});

test("the checks in docs/looking.md match the code", async () => {
  const rows = CHECKS.map(({ group, name, about }) => `| ${group} | \`${name}\` | ${about} |`);
  const text = read("docs/looking.md")
    .replace(/(?:^\| [a-z ]+ \| `.*\n)+/m, `${rows.join("\n")}\n`)
    .replace(/(n1 is healthy: )\d+( checks)/, `$1${CHECKS.length}$2`);
  await expect(text).toMatchFileSnapshot(join(ROOT, "docs/looking.md"));
});

/** Sources without the breaks of long strings, so that a quotation is found across two lines. */
const SOURCES = globSync("{pkg,plugins,command,daemon}/**/*.ts", { cwd: ROOT })
  .filter((file) => !file.endsWith(".test.ts"))
  .map((file) => read(file).replaceAll(/["`] \+\n\s*["`]/g, ""))
  .join("\n");

/** The first cells of the rows whose table begins with the heading "message". */
const QUOTED = [...read("docs/operations.md").matchAll(/^\| message \|[^\n]*\n((?:\|.*\n)+)/gm)]
  .flatMap(([, rows = ""]) => rows.split("\n").map((row) => row.split(" | ")[0] ?? ""))
  .flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, message = ""]) => message))
  // In a template string the sources have an expression in place of the example.
  .flatMap((message) => message.split(/\s*(?:\.\.\.|\bNAME\b)/).filter((part) => /[a-z]{3}/.test(part)));

test.each(QUOTED)("a message contains %j, as docs/operations.md says", (message) => {
  expect(SOURCES.includes(message)).toBe(true);
});

const pages = globSync("{*.md,{docs,conf,hack,test}/**/*.md}", { cwd: ROOT });

test.each(pages)("every link of %s leads to a file and a heading", (page) => {
  const targets = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  const local = targets.filter((target) => !/^(?:https?:|mailto:)/.test(target));
  const broken = local.filter((target) => {
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), path);
    if (!existsSync(join(ROOT, file))) return true;
    return anchor !== undefined && file.endsWith(".md") && !anchorsOf(read(file)).has(anchor);
  });
  expect(broken).toEqual([]);
});

const FILES = globSync("{pkg,plugins,command,daemon,conf,hack,test}/**", { cwd: ROOT });
const FILE_NAMES = new Set(FILES.map((file) => basename(file)));

test.each(pages.filter((page) => !page.startsWith("test/")))("every source that %s names exists", (page) => {
  const names = [...read(page).matchAll(/`([\w./-]+)`/g)].map(([, name = ""]) => name);
  const paths = names.filter((name) => /^(?:pkg|plugins|command|daemon|conf|hack|test)\//.test(name));
  // `test/live/rolling` stands for rolling.live.test.ts; flannel's packages are in rows that say so.
  const missing = paths.filter(
    (path) =>
      !FILES.some((file) => `${file}/`.startsWith(`${path.replace(/\/$/, "")}/`) || file.startsWith(`${path}.`)),
  );
  const unknown = names.filter((name) => /^[\w-]+\.ts$/.test(name) && !FILE_NAMES.has(name));
  expect([...missing, ...unknown]).toEqual([]);
});

test("docs/README.md links to every page of docs", () => {
  const names = globSync("docs/*.md", { cwd: ROOT }).map((file) => basename(file));
  const index = read("docs/README.md");
  expect(names.filter((name) => name !== "README.md" && !index.includes(`](${name})`))).toEqual([]);
});

/** The anchors that GitHub makes from headings. */
function anchorsOf(text: string): ReadonlySet<string> {
  const prose = text.replaceAll(/^```[\s\S]*?^```$/gm, "");
  const headings = [...prose.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

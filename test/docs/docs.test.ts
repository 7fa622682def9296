/** What is made from the code is as the code has it, and no link leads nowhere. `npm run docs` writes it anew. */
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { commandText } from "./command.ts";
import { configurationText } from "./configuration.ts";
import { footprintText } from "./footprint.ts";
import { observationText } from "./observation.ts";

const ROOT = join(import.meta.dirname, "../..");

test("the configuration reference is as the code has it", async () => {
  await expect(configurationText()).toMatchFileSnapshot(join(ROOT, "docs/configuration.md"));
});

test("the command's reference is as the code has it", async () => {
  await expect(commandText()).toMatchFileSnapshot(join(ROOT, "docs/command.md"));
});

test("the reference of metrics and Events is as the code has it", async () => {
  await expect(await observationText()).toMatchFileSnapshot(join(ROOT, "docs/observation.md"));
});

test("the footprint on a node is as the code has it", async () => {
  await expect(footprintText()).toMatchFileSnapshot(join(ROOT, "docs/footprint.md"));
});

const pages = globSync("{*.md,{docs,conf,hack,test}/**/*.md}", { cwd: ROOT });

test.each(pages)("every link of %s leads to something", (page) => {
  const text = readFileSync(join(ROOT, page), "utf8");
  const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target);
  const local = targets.filter((target) => !/^(?:https?:|mailto:|#)/.test(target));
  const broken = local.filter((target) => {
    const [path = "", anchor] = target.split("#");
    const file = join(ROOT, dirname(page), path);
    if (!existsSync(file)) return true;
    return anchor !== undefined && path.endsWith(".md") && !anchorsOf(readFileSync(file, "utf8")).has(anchor);
  });
  expect(broken).toEqual([]);
});

/** As GitHub makes them of headings. */
function anchorsOf(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\s_-]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}

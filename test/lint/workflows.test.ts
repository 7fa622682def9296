/** Checks GitHub's workflows with GitHub's own parser: a broken workflow otherwise fails silently by not running. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { build } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";

const FOLDER = ".github/workflows";

let parser: typeof import("@actions/workflow-parser");
const folder = mkdtempSync(`${tmpdir()}/weft-workflows-`);
beforeAll(async () => {
  // The package imports JSON in a way that only bundlers support.
  const outfile = `${folder}/parser.mjs`;
  const entry = { contents: 'export * from "@actions/workflow-parser";', resolveDir: "." };
  await build({ stdin: entry, outfile, bundle: true, platform: "node", format: "esm", logLevel: "warning" });
  parser = await import(outfile);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true }));

async function errorsOf(content: string): Promise<string[]> {
  const { convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow } = parser;
  const { context, value } = parseWorkflow({ name: "workflow.yml", content }, new NoOperationTraceWriter());
  if (value !== undefined) await convertWorkflowTemplate(context, value);
  return context.errors.getErrors().map(({ message }) => message);
}

test("the parser reports an error", async () => {
  const broken = "on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    stepz: []\n";
  expect(await errorsOf(broken)).toEqual([expect.stringContaining("stepz")]);
});

interface Workflow {
  readonly permissions?: unknown;
  readonly jobs: Readonly<
    Record<string, { readonly steps: readonly { readonly run?: string; readonly uses?: string }[] }>
  >;
}

describe.each(readdirSync(FOLDER))("%s", (name) => {
  const content = readFileSync(`${FOLDER}/${name}`, "utf8");
  const workflow = parse(content) as Workflow;
  const steps = Object.values(workflow.jobs).flatMap((job) => job.steps);

  test("is a valid workflow", async () => {
    expect(await errorsOf(content)).toEqual([]);
  });

  test("requests read permissions only, and states them", () => {
    expect(workflow.permissions).toEqual({ contents: "read" });
  });

  test("uses actions of other projects by commit, with a comment that names the version", () => {
    const uses = content.split("\n").filter((line) => line.includes("uses:"));
    expect(uses).toHaveLength(steps.filter((step) => step.uses !== undefined).length);
    for (const line of uses) expect(line).toMatch(/uses: [\w-]+\/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });

  test("calls existing commands", () => {
    const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };
    const commands = steps.flatMap(({ run = "" }) => run.match(/\b(?:hack\/\w+|npm (?:run [\w:]+|test))/g) ?? []);
    expect(commands.length).toBeGreaterThan(0);
    for (const command of commands) {
      if (command.startsWith("hack/")) expect(existsSync(command), command).toBe(true);
      else expect(scripts, command).toHaveProperty([command.replace(/^npm (run )?/, "")]);
    }
  });
});

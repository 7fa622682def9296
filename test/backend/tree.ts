/** A copy of this tree with one additional backend: built separately, and compared with the original. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dirname, "../..");
/** All sources that a build reads. */
const SOURCES = ["command", "daemon", "hack", "pkg", "plugins", "package-lock.json", "package.json", "tsconfig.json"];

/** A folder that the caller removes. */
export function copyTree(): string {
  const tree = mkdtempSync(join(tmpdir(), "weft-backend-"));
  for (const source of SOURCES) cpSync(join(ROOT, source), join(tree, source), { recursive: true });
  mkdirSync(join(tree, ".cache"));
  for (const tool of ["node_modules", ".cache/quickjs"]) symlinkSync(join(ROOT, tool), join(tree, tool));
  writeFileSync(join(tree, ".gitignore"), ".cache\nnode_modules\ndist\n");
  git(tree, "init", "--quiet");
  git(tree, "add", "--all");
  git(tree, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "--message", "as it is");
  return tree;
}

/** Adds the backend in `folder`: one folder, and its line in the registry. */
export function addBackend(tree: string, folder: string, name: string): void {
  const target = join(tree, "pkg/backend", name);
  mkdirSync(target);
  for (const file of readdirSync(folder)) {
    // The new folder is closer to the rest of pkg, so the import paths get shorter.
    const source = readFileSync(join(folder, file), "utf8");
    const moved = source.replaceAll("../../../pkg/backend/", "../").replaceAll("../../../pkg/", "../../");
    writeFileSync(join(target, file), moved);
  }
  appendFileSync(join(tree, "pkg/backend/registry.ts"), `export { ${name} } from "./${name}/main.ts";\n`);
}

/** Files that differ from the copy, with the number of lines added and removed in each. */
export function changesOf(tree: string): { readonly file: string; readonly added: number; readonly removed: number }[] {
  git(tree, "add", "--all");
  return git(tree, "diff", "--cached", "--numstat", "HEAD")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [added, removed, file = ""] = line.split("\t");
      return { file, added: Number(added), removed: Number(removed) };
    });
}

/** Returns the folder of the executables. */
export function buildTree(tree: string): string {
  execFileSync(process.execPath, ["hack/compile/main.ts"], { cwd: tree, stdio: "pipe" });
  return join(tree, "dist/bin");
}

function git(tree: string, ...args: readonly string[]): string {
  return execFileSync("git", ["-C", tree, ...args], { encoding: "utf8" });
}

/** Finds out whether dist/bin is up to date, so that a build without changes returns at once. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { ROOT } from "./paths.ts";
import type { Target } from "./target.ts";

/** Sources, and files that determine packages and compilers. */
const INPUTS = [
  "plugins",
  "command",
  "daemon",
  "pkg",
  "hack/compile",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
];
const LIBRARIES = ["qjsc", "libquickjs.a", "quickjs.h", "musl/lib/libc.a"];
const stampOf = ({ dist }: Target) => `${dist}/lib/inputs`;

/** Returns a digest of every input's name and content, and of the Node.js that starts weftd. */
export function digestInputs({ quickjs }: Target): string {
  const files = [
    ...INPUTS.flatMap((name) => filesOf(`${ROOT}/${name}`)),
    ...LIBRARIES.map((name) => `${quickjs}/${name}`),
  ];
  const hash = createHash("sha256").update(process.execPath);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest("hex");
}

/** True if dist has `outputs`, made from inputs with this digest. */
export function isBuilt(target: Target, digest: string, outputs: readonly string[]): boolean {
  const stamp = stampOf(target);
  return [stamp, ...outputs].every((path) => existsSync(path)) && readFileSync(stamp, "utf8") === digest;
}

/** Removes the stamp before a build, so that an interrupted build does not count as complete. */
export function markUnbuilt(target: Target): void {
  rmSync(stampOf(target), { force: true });
}

export function markBuilt(target: Target, digest: string): void {
  writeFileSync(stampOf(target), digest);
}

function filesOf(path: string): string[] {
  if (!statSync(path).isDirectory()) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.endsWith(".test.ts"))
    .map((entry) => `${entry.parentPath}/${entry.name}`)
    .sort();
}

/** What dist/bin is made from, so that a build with nothing to do is over at once. */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { ROOT } from "./paths.ts";
import type { Target } from "./target.ts";

/** Sources, and what decides on packages and compilers. */
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
const LIBRARIES = ["qjsc", "libquickjs.a", "quickjs.h"];
const stampOf = ({ dist }: Target) => `${dist}/lib/inputs`;

/** Of every input's name and content, and of the Node.js that weftd is started with. */
export function digestInputs({ quickjs }: Target): string {
  const files = [
    ...INPUTS.flatMap((name) => filesOf(`${ROOT}/${name}`)),
    ...LIBRARIES.map((name) => `${quickjs}/${name}`),
  ];
  const hash = createHash("sha256").update(process.execPath);
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(file));
  return hash.digest("hex");
}

/** True when dist holds `outputs`, made from inputs of this digest. */
export function isBuilt(target: Target, digest: string, outputs: readonly string[]): boolean {
  const stamp = stampOf(target);
  return [stamp, ...outputs].every((path) => existsSync(path)) && readFileSync(stamp, "utf8") === digest;
}

/** Before a build: one that is broken off leaves neither the old state nor the new one. */
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

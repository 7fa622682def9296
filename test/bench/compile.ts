/** Compiles the runner and the floors, if their sources have changed. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

const CACHE = fileURLToPath(new URL("../../.cache/bench", import.meta.url));
const SOURCES = fileURLToPath(new URL("floor", import.meta.url));
const OPTIONS = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-static"];
/** Sources without a main function. */
const SHARED = ["call", "netlink", "nftables", "reservation", "veth"];

export const RUNNER = `${CACHE}/runner`;
/** The folder of the compiled floors. */
export const FLOORS = `${CACHE}/floor`;
/** The nftables tables that the floors use, for nft -f. */
export const TABLES = `${SOURCES}/tables.nft`;

export function compileAll(): void {
  mkdirSync(FLOORS, { recursive: true });
  compile(RUNNER, [fileURLToPath(new URL("runner.c", import.meta.url))], []);
  const names = readdirSync(SOURCES)
    .filter((file) => file.endsWith(".c"))
    .map((file) => file.slice(0, -2));
  const shared = SHARED.map((name) => `${SOURCES}/${name}.c`);
  for (const name of names.filter((name) => !SHARED.includes(name)))
    compile(`${FLOORS}/${name}`, [`${SOURCES}/${name}.c`, ...shared], [`${SOURCES}/floor.h`]);
}

/** The floor of a plugin's call. */
export function floorOf(plugin: string, verb: string): string {
  return verb === "VERSION" || verb === "STATUS" ? "start" : plugin;
}

function compile(output: string, sources: readonly string[], headers: readonly string[]): void {
  const changed = Math.max(...[...sources, ...headers].map((file) => statSync(file).mtimeMs));
  if (existsSync(output) && statSync(output).mtimeMs > changed) return;
  execFileSync("gcc", [...OPTIONS, ...sources, "-o", output], { stdio: ["ignore", "ignore", "inherit"] });
}

/**
 * One static ELF of the C host and the plugins, loaded: see pkg/sys/host/image.c. It is linked, run once to make its
 * image, and given the image.
 */
import { createHash } from "node:crypto";
import { copyFileSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { BIN, QUICKJS, ROOT, WORK } from "./paths.ts";
import type { Programs } from "./plugins.ts";
import { replace } from "./replace.ts";
import { output, run } from "./run.ts";

const HOST = `${ROOT}/pkg/sys/host`;
/** The file is copied to every node: its size is a promise. */
const LARGEST_BYTES = 4 * 2 ** 20;
/** Above everything else that the linker lays out, so that its size moves nothing. */
const IMAGE_ADDRESS = "0x10000000";
/** Enough to load the plugins; how much they need is then known. */
const ROOM_BYTES = 16 * 2 ** 20;

export function executableFiles(names: readonly string[], bin: string): string[] {
  return ["weft", ...names].map((name) => `${bin}/${name}`);
}

/** Puts `weft` and its links into `bin`. Throws when the file becomes larger than it may be. */
export function buildExecutable(programs: Programs, bin: string): void {
  const made = compileExecutable(programs, `${WORK}/weft`);
  const { size } = statSync(made);
  if (size > LARGEST_BYTES) throw new Error(`${bin}/weft has ${size} bytes: expected at most ${LARGEST_BYTES}`);
  install(made, programs.names, bin);
}

/** Compiles `programs` into the file `target`, and returns its name. */
export function compileExecutable({ names, script }: Programs, target: string): string {
  const bytecode = compileScript(script);
  const sources = readdirSync(HOST)
    .filter((name) => /\.[ch]$/.test(name))
    .sort();
  const table = `${target}-names.c`;
  writeFileSync(table, nameTable(names, digest([...sources.map((name) => `${HOST}/${name}`), bytecode])));
  const files = [table, ...sources.filter((name) => name.endsWith(".c")).map((name) => `${HOST}/${name}`)];
  const seed = `${target}-seed`;
  const image = `${target}-image`;
  // Twice: the first run tells how much memory the image needs, the second makes it, in the executable that gets it.
  link(files, seed, ROOM_BYTES);
  const used = Number(output(seed, [bytecode, image]));
  link(files, seed, pages(used));
  run(seed, [bytecode, image]);
  run("objcopy", ["--update-section", `.image=${image}`, "--strip-all", seed, target]);
  return target;
}

function link(files: readonly string[], target: string, imageBytes: number): void {
  run("gcc", [
    ...["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", `-ffile-prefix-map=${ROOT}=.`],
    // Fixed addresses: the image holds pointers.
    ...["-static", "-no-pie", "-fno-pie", `-Wl,--section-start=.image=${IMAGE_ADDRESS}`],
    ...[`-DHOST_IMAGE_BYTES=${imageBytes}`, "-isystem", QUICKJS, "-I", HOST],
    ...[...files, `${QUICKJS}/libquickjs.a`, "-lm", "-o", target],
  ]);
}

function pages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

/** qjsc writes C: `const uint8_t <name>[] = { 0x.., };`. */
function compileScript(script: string): string {
  const source = `${script}.c`;
  run(`${QUICKJS}/qjsc`, ["-c", "-s", "-N", "plugins", "-o", source, script]);
  const [, body = ""] = readFileSync(source, "utf8").split(/const uint8_t plugins\[\d+\] = \{/);
  const bytes = Uint8Array.from(body.match(/0x[0-9a-f]{2}/g) ?? [], Number);
  if (bytes.length === 0) throw new Error(`${source}: expected bytecode as an array of bytes`);
  const bytecode = `${script}.bytecode`;
  writeFileSync(bytecode, bytes);
  return bytecode;
}

function nameTable(names: readonly string[], buildId: string): string {
  const { version } = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8")) as { version: string };
  return [
    '#include "host.h"',
    `const char host_version[] = ${JSON.stringify(version)};`,
    `const char host_build_id[] = ${JSON.stringify(buildId)};`,
    `const char *const host_program_names[] = { ${names.map((name) => JSON.stringify(name)).join(", ")}, NULL };`,
    "",
  ].join("\n");
}

function digest(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}

function install(made: string, names: readonly string[], bin: string): void {
  mkdirSync(bin, { recursive: true });
  // Onto the file system of the target first.
  replace(`${bin}/weft`, (path) => copyFileSync(made, path));
  for (const name of names) replace(`${bin}/${name}`, (path) => linkSync(`${bin}/weft`, path));
  if (bin === BIN) removeLeftovers(names);
}

/** The links of plugins that are no more; in dist alone, where everything is ours. */
function removeLeftovers(names: readonly string[]): void {
  const known = new Set(["weft", "weftd", ...names]);
  for (const name of readdirSync(BIN)) if (!known.has(name)) rmSync(`${BIN}/${name}`);
}

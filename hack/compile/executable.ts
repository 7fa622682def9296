/** Bytecode by qjsc, and one static ELF of the C host and all of it. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { DIST, QUICKJS, ROOT, WORK } from "./paths.ts";
import type { Program } from "./plugins.ts";
import { versionAnswer } from "./version-answer.ts";

const HOST = `${ROOT}/pkg/sys/host`;
/** The file is copied to every node: its size is a promise. */
const LARGEST_BYTES = 4 * 2 ** 20;

/** Returns the size of dist/bin/weft. */
export function buildExecutable(programs: readonly Program[]): number {
  const tables = programs.map(compile);
  const table = `${WORK}/programs.c`;
  const sources = readdirSync(HOST)
    .filter((name) => name.endsWith(".c"))
    .sort()
    .map((name) => `${HOST}/${name}`);
  const { version } = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8")) as { version: string };
  const buildId = digest([...sources, ...tables.map(({ file }) => file)]);
  writeFileSync(table, programTable(tables, version, buildId));
  mkdirSync(`${DIST}/bin`, { recursive: true });
  const made = `${WORK}/weft`;
  run("gcc", [
    ...["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"],
    `-ffile-prefix-map=${ROOT}=.`,
    ...["-isystem", QUICKJS, "-I", HOST, "-I", WORK],
    ...[table, ...sources, `${QUICKJS}/libquickjs.a`, "-lm", "-o", made],
  ]);
  const { size } = statSync(made);
  if (size > LARGEST_BYTES) throw new Error(`dist/bin/weft has ${size} bytes: expected at most ${LARGEST_BYTES}`);
  install(made, programs);
  return size;
}

interface Table {
  readonly name: string;
  readonly symbol: string;
  readonly file: string;
  readonly version: string;
}

/** qjsc writes `const uint32_t <symbol>_size` and `const uint8_t <symbol>[]`. */
function compile({ name, script }: Program): Table {
  const symbol = `weft_${name.replaceAll("-", "_")}`;
  const file = `${WORK}/${symbol}.c`;
  run(`${QUICKJS}/qjsc`, ["-c", "-m", "-s", "-N", symbol, "-o", file, script]);
  // The size as a constant that an initializer may use.
  const text = readFileSync(file, "utf8").replace(/const uint32_t (\w+) = (\d+);/, "enum { $1 = $2 };");
  writeFileSync(file, text.replace(`const uint8_t ${symbol}[`, `static const uint8_t ${symbol}[`));
  return { name, symbol, file, version: versionAnswer(script) };
}

function programTable(tables: readonly Table[], version: string, buildId: string): string {
  return [
    '#include "host.h"',
    ...tables.map(({ symbol }) => `#include "${symbol}.c"`),
    `const char host_version[] = ${JSON.stringify(version)};`,
    `const char host_build_id[] = ${JSON.stringify(buildId)};`,
    "const struct host_program host_programs[] = {",
    ...tables.map(
      ({ name, symbol, version }) =>
        `\t{ ${JSON.stringify(name)}, ${JSON.stringify(version)}, ${symbol}, ${symbol}_size },`,
    ),
    "\t{ NULL, NULL, NULL, 0 },",
    "};",
    "",
  ].join("\n");
}

function digest(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}

/** By rename, so that an executable that is running just now is not disturbed (ETXTBSY). */
function install(made: string, programs: readonly Program[]): void {
  const bin = `${DIST}/bin`;
  renameSync(made, `${bin}/weft`);
  for (const { name } of programs) {
    const temporary = `${bin}/.${name}`;
    rmSync(temporary, { force: true });
    linkSync(`${bin}/weft`, temporary);
    renameSync(temporary, `${bin}/${name}`);
    // rename(2) does nothing where both names are the same file already.
    rmSync(temporary, { force: true });
  }
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: "inherit" });
}

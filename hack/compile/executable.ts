/**
 * Builds one static ELF file from the C host and the loaded plugins (see pkg/sys/host/image.c). The file is linked, run
 * once to make its image, and then gets the image.
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { ROOT, WORK } from "./paths.ts";
import type { Programs } from "./plugins.ts";
import { replace } from "./replace.ts";
import { output, outputBytes, run } from "./run.ts";
import type { Target } from "./target.ts";

const HOST = `${ROOT}/pkg/sys/host`;
/** The maximum size. The file is copied to every node. */
const LARGEST_BYTES = 4 * 2 ** 20;
/** Above all other sections, so that the image's size moves no other address. JS_IMMORTAL_START in hack/quickjs.patch. */
const IMAGE_ADDRESS = "0x10000000";
/** Enough to load the plugins. The first run measures how much they need. */
const ROOM_BYTES = 16 * 2 ** 20;

export function executableFiles(names: readonly string[], bin: string): string[] {
  return ["weft", ...names].map((name) => `${bin}/${name}`);
}

/** Writes `weft` and its links to `bin`. Throws if the file is larger than the maximum. */
export function buildExecutable(programs: Programs, bin: string, target: Target): void {
  const made = compileExecutable(programs, `${WORK}/weft-${target.arch}`, target);
  const { size } = statSync(made);
  if (size > LARGEST_BYTES) throw new Error(`${bin}/weft has ${size} bytes: expected at most ${LARGEST_BYTES}`);
  install(made, programs.names, bin);
  if (bin === `${target.dist}/bin`) removeLeftovers(programs.names, bin);
}

export interface ExecutableOptions {
  /** True to keep the positions of functions in the script, for `npm run profile`. [false] */
  readonly hasPositions?: boolean;
}

/**
 * Compiles `programs` into the file `path`, and returns the path. Next to it are the file with its symbols, `-seed`, and
 * the image.
 */
export function compileExecutable(
  { names, script, command }: Programs,
  path: string,
  target: Target,
  { hasPositions = false }: ExecutableOptions = {},
): string {
  const bytecode = compileScript(script, target, hasPositions);
  const commandBytecode = command === undefined ? undefined : compileScript(command, target);
  const sources = readdirSync(HOST)
    .filter((name) => /\.(c|h|ld)$/.test(name))
    .sort();
  const table = `${path}-names.c`;
  const ingredients = [...sources.map((name) => `${HOST}/${name}`), bytecode];
  if (commandBytecode !== undefined) ingredients.push(commandBytecode);
  writeFileSync(table, nameTable(names, digest(ingredients)) + commandTable(commandBytecode));
  const files = [table, ...sources.filter((name) => name.endsWith(".c")).map((name) => `${HOST}/${name}`)];
  const seed = `${path}-seed`;
  const image = `${path}-image`;
  // The image is made twice: the first run measures how much memory it needs, the second makes it in the executable
  // that gets it.
  const makeImage = [...target.emulator, seed, bytecode, image];
  link(files, seed, ROOM_BYTES, target);
  const used = Number(output(makeImage));
  link(files, seed, pages(used), target);
  run(makeImage);
  run([`${target.toolPrefix}objcopy`, "--update-section", `.image=${image}`, "--strip-all", seed, path]);
  return path;
}

function link(files: readonly string[], path: string, imageBytes: number, target: Target): void {
  const gcc = `${target.toolPrefix}gcc`;
  // musl instead of gcc's own C library.
  const headers = [`${target.quickjs}/musl/include`, output([gcc, "-print-file-name=include"]).trim()];
  const musl = (name: string) => `${target.quickjs}/musl/lib/${name}`;
  run([
    gcc,
    ...["-nostdinc", "-nostdlib", ...headers.flatMap((folder) => ["-isystem", folder])],
    ...["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", `-ffile-prefix-map=${ROOT}=.`],
    // Two builds of one commit are identical: paths of debug information and the time are excluded.
    ...["-Wl,--build-id=none", "-Wl,--wrap=gettimeofday"],
    // Fixed addresses, since the image contains pointers.
    ...["-static", "-no-pie", "-fno-pie", `-Wl,--section-start=.image=${IMAGE_ADDRESS}`],
    // Nothing unwinds the stack, so no file needs the tables for it. Code and constants may share a page of the file, which makes it smaller.
    ...["-fno-asynchronous-unwind-tables", "-Wl,-z,noseparate-code", `-Wl,-T,${HOST}/unwinding.ld`],
    ...[`-DHOST_IMAGE_BYTES=${imageBytes}`, "-isystem", target.quickjs, "-I", HOST],
    // Functions of QuickJS and of the C library that nothing uses are omitted.
    ...["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    ...[musl("crt1.o"), musl("crti.o"), ...files, `${target.quickjs}/libquickjs.a`],
    ...["-Wl,--start-group", musl("libc.a"), "-lgcc", "-Wl,--end-group", musl("crtn.o"), "-o", path],
  ]);
}

function pages(bytes: number): number {
  return Math.ceil(bytes / 4096) * 4096;
}

/** Compiles a script. qjsc writes C: `const uint8_t <name>[] = { 0x.., };`. */
function compileScript(script: string, { quickjs }: Target, hasPositions = false): string {
  const source = `${script}.c`;
  run([`${quickjs}/qjsc`, "-c", ...(hasPositions ? [] : ["-s"]), "-N", "plugins", "-o", source, script]);
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
    `const char host_commit[] = ${JSON.stringify(commit())};`,
    elfNote(buildId),
    `const char *const host_program_names[] = { ${names.map((name) => JSON.stringify(name)).join(", ")}, NULL };`,
    "",
  ].join("\n");
}

/**
 * Returns the C source of the ELF note (elf(5)) with the build's id. command/install/mark.ts recognises builds of weft
 * by it.
 */
function elfNote(buildId: string): string {
  const header = `uint32_t nameSize, contentSize, type; char name[8], content[${buildId.length}];`;
  const value = `sizeof("weft"), ${buildId.length}, 1, "weft", ${JSON.stringify(buildId)}`;
  return `const struct { ${header} } host_note __attribute__((section(".note.weft"), aligned(4), used)) = { ${value} };`;
}

/** The format that pkg/sys/host/unpack.c reads. These parameters compress bytecode best. */
const LZMA = "--lzma1=preset=9e,lc=3,lp=0,pb=0,dict=1MiB";

/**
 * Returns the C source of the command's bytecode. It is compressed, since it is read only when a person runs the
 * command.
 */
function commandTable(bytecode: string | undefined): string {
  if (bytecode === undefined)
    return "const uint8_t host_command[1] = { 0 };\nconst size_t host_command_length = 0, host_command_size = 0;\n";
  // 191 KB of the file of 4 MiB. DEFLATE needs a fifth more and the same time. The minified source would pack to 149 KB, but
  // compiling it takes four times as long as the whole call.
  const packed = `${bytecode}.packed`;
  const content = readFileSync(bytecode);
  writeFileSync(packed, outputBytes(["xz", "--format=raw", LZMA, "--threads=1", "--stdout", bytecode]));
  const included = `.balign 16\\n.global host_command\\nhost_command: .incbin \\"${packed}\\"\\n`;
  return [
    `__asm__(".pushsection .rodata\\n${included}.popsection");`,
    `const size_t host_command_length = ${statSync(packed).size}, host_command_size = ${content.length};`,
    "",
  ].join("\n");
}

/** Returns the commit of the sources, for `weft --version`. Empty outside a repository. */
function commit(): string {
  if (!existsSync(`${ROOT}/.git`)) return "";
  return output(["git", "-C", ROOT, "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=-changed"]).trim();
}

function digest(files: readonly string[]): string {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
}

function install(made: string, names: readonly string[], bin: string): void {
  mkdirSync(bin, { recursive: true });
  // The file is first copied to the target's file system.
  replace(`${bin}/weft`, (path) => copyFileSync(made, path));
  for (const name of names) replace(`${bin}/${name}`, (path) => linkSync(`${bin}/weft`, path));
}

/** Removes links of plugins that no longer exist. Only in dist, where all files are ours. */
function removeLeftovers(names: readonly string[], bin: string): void {
  const known = new Set(["weft", "weftd", ...names]);
  for (const name of readdirSync(bin)) if (!known.has(name)) rmSync(`${bin}/${name}`);
}

/**
 * The executable that is profiled, and the addresses and offsets of QuickJS's structures in it, from the debug
 * information of the file that the build has before it strips it. The executable differs from dist/bin/weft only by the
 * positions of functions, which are read when an error is thrown.
 */
import { execFileSync } from "node:child_process";
import { closeSync, linkSync, mkdirSync, openSync, readSync } from "node:fs";
import { compileExecutable } from "../../hack/compile/executable.ts";
import { WORK } from "../../hack/compile/paths.ts";
import { bundlePlugins, ownPlugins } from "../../hack/compile/plugins.ts";
import { replace } from "../../hack/compile/replace.ts";
import { NATIVE } from "../../hack/compile/target.ts";

const EXECUTABLE = `${WORK}/weft-profile`;
const SEED = `${EXECUTABLE}-seed`;
const IMAGE = `${EXECUTABLE}-image`;

/** Returns a folder with the executable under the names of all plugins. */
export async function buildProfiled(): Promise<string> {
  const programs = await bundlePlugins(ownPlugins());
  compileExecutable(programs, EXECUTABLE, NATIVE, { hasPositions: true });
  const folder = `${WORK}/profile`;
  mkdirSync(folder, { recursive: true });
  for (const name of programs.names) replace(`${folder}/${name}`, (path) => linkSync(EXECUTABLE, path));
  return folder;
}

/** The source map of the plugins' script. */
export const SOURCE_MAP = `${WORK}/plugins.js.map`;

const OFFSETS: Readonly<Record<string, string>> = {
  OBJECT_CLASS: "&((struct JSObject *)0)->class_id",
  OBJECT_C_FUNCTION: "&((struct JSObject *)0)->u.cfunc.c_function",
  OBJECT_BYTECODE: "&((struct JSObject *)0)->u.func.function_bytecode",
  CLASS_C_FUNCTION: "JS_CLASS_C_FUNCTION",
  FRAME_PREVIOUS: "&((struct JSStackFrame *)0)->prev_frame",
  FRAME_FUNCTION: "&((struct JSStackFrame *)0)->cur_func.u.ptr",
  BYTECODE_NAME: "&((struct JSFunctionBytecode *)0)->func_name",
  BYTECODE_POSITIONS: "&((struct JSFunctionBytecode *)0)->debug.pc2line_buf",
  // Bit fields have no address. The length is the word behind the count of references.
  STRING_LENGTH: "sizeof(JSRefCountHeader)",
  STRING_TEXT: "&((struct JSString *)0)->u",
};
const RUNTIME_OFFSETS = {
  RUNTIME_FRAME: "&((struct JSRuntime *)0)->current_stack_frame",
  RUNTIME_ATOMS: "&((struct JSRuntime *)0)->atom_array",
};

export interface NativeSymbol {
  readonly address: number;
  readonly name: string;
}

/** Returns the functions of the executable by address. */
export function readSymbols(): NativeSymbol[] {
  const lines = execFileSync("nm", [SEED], { encoding: "utf8", maxBuffer: 1 << 26 }).split("\n");
  return lines
    .flatMap((line) => {
      const [, address = "", name = ""] = /^([0-9a-f]+) [tTwWi] (.+)$/.exec(line) ?? [];
      return name === "" ? [] : [{ address: Number.parseInt(address, 16), name }];
    })
    .sort((one, other) => one.address - other.address);
}

/** Returns the macros for which stepper.c is compiled. */
export function layoutMacros(): string[] {
  const symbols = readSymbols();
  const values = evaluate({ ...OFFSETS, ...RUNTIME_OFFSETS });
  const runtime = readRuntimeAddress();
  for (const name of Object.keys(RUNTIME_OFFSETS)) values[name] = (values[name] ?? 0) + runtime;
  values.TEXT_START = symbols[0]?.address ?? 0;
  values.TEXT_END = (symbols.at(-1)?.address ?? 0) + 4096;
  return Object.entries(values).map(([name, value]) => `-D${name}=${value}`);
}

function evaluate(expressions: Readonly<Record<string, string>>): Record<string, number> {
  const words = Object.values(expressions).flatMap((expression) => ["-ex", `print/d (long)(${expression})`]);
  const lines = execFileSync("gdb", ["-nx", "-batch", ...words, SEED], { encoding: "utf8" }).match(/= -?\d+$/gm) ?? [];
  const names = Object.keys(expressions);
  if (lines.length !== names.length) throw new Error(`${SEED}: expected QuickJS's structures in its debug information`);
  return Object.fromEntries(names.map((name, at) => [name, Number(lines[at]?.slice(2))]));
}

/** `struct host_image` begins with a flag, the context and the runtime (pkg/sys/host/host.h). */
function readRuntimeAddress(): number {
  const bytes = Buffer.alloc(8);
  const file = openSync(IMAGE, "r");
  try {
    readSync(file, bytes, 0, 8, 16);
  } finally {
    closeSync(file);
  }
  return Number(bytes.readBigUInt64LE());
}

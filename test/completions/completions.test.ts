/** `weft completions` in real shells, with an executable that contains the command and the names of a few plugins. */
import { execFile } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { bundleCommand } from "../../hack/compile/command.ts";
import { compileExecutable } from "../../hack/compile/executable.ts";
import { WORK } from "../../hack/compile/paths.ts";
import { bundle, entry } from "../../hack/compile/plugins.ts";
import { NATIVE } from "../../hack/compile/target.ts";

const COMPILE_LIMIT_MS = 120_000;
/** zsh first reads all its own completions, possibly from a slow disk. */
vi.setConfig({ testTimeout: 60_000 });

const folder = `${WORK}/completions-${process.pid}`;
const bin = `${folder}/bin`;
const here = `${folder}/here`;

beforeAll(async () => {
  for (const each of [bin, `${here}/directory`]) mkdirSync(each, { recursive: true });
  writeFileSync(`${here}/file`, "");
  const script = `${folder}/plugins.js`;
  await bundle(entry([]), script);
  const command = await bundleCommand(`${folder}/command.js`);
  compileExecutable({ names: ["bridge", "ptp", "vlan"], script, command }, `${bin}/weft`, NATIVE);
}, COMPILE_LIMIT_MS);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const env = { PATH: `${bin}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: folder, TERM: "dumb" };
const succeed = async (file: string, args: readonly string[]) =>
  (await promisify(execFile)(file, [...args], { env })).stdout;
const lines = (text: string) => text.split("\n").filter(Boolean).sort();

/** Simulates the Tab key: sets the words, and calls the function registered for weft. */
async function bash(...words: string[]): Promise<string[]> {
  const script = `set -eu; compopt() { :; }; cd ${here}; eval "$(weft completions bash)"
    [ "$(complete -p weft)" = "complete -F _weft weft" ]
    COMP_WORDS=(weft "$@"); COMP_CWORD=$#; _weft; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return lines(await succeed("bash", ["-c", script, "bash", ...words]));
}

async function fish(line: string): Promise<string[]> {
  const script = `cd ${here}; weft completions fish | source; complete -C "$argv[1]"`;
  return lines(await succeed("fish", ["--no-config", "-c", script, line]));
}

/** Replaces the functions of the completion system, which need a terminal: these print their arguments. */
async function zsh(...words: string[]): Promise<string[]> {
  const script = `compdef() { }; _files() { print -r -- "files $*" }; _describe() { print -rl -- "\${(@P)2}" }
    cd ${here}; eval "$(weft completions zsh)"; words=(weft "$@"); CURRENT=\${#words}; _weft`;
  return lines(await succeed("zsh", ["-f", "-c", script, "zsh", ...words]));
}

test("bash offers subcommands, options, values and directories", async () => {
  expect(await bash("ins")).toEqual(["install"]);
  expect(await bash("ipam", "")).toEqual(["--help", "gc", "ls"]);
  expect(await bash("install", "--d")).toEqual(["--discard-replaced", "--dry-run"]);
  expect(await bash("install", "--only", "bridge,pt")).toEqual(["bridge,ptp"]);
  expect(await bash("ipam", "ls", "--output", "=", "")).toEqual(["json", "table"]);
  expect(await bash("install", "")).toEqual(["directory"]);
  expect(await bash("install", "di")).toEqual(["directory"]);
});

test("fish offers the same, with descriptions", async () => {
  expect(await fish("weft ins")).toEqual(["install\tinstall the plugins for the container runtime"]);
  expect((await fish("weft ipam ")).map((line) => line.replace(/\t.*/, ""))).toEqual(["--help", "gc", "ls"]);
  expect(await fish("weft install --dr")).toEqual(["--dry-run\tprint the changes, and change nothing"]);
  expect(await fish("weft completions ")).toEqual(["bash", "fish", "zsh"]);
  expect((await fish("weft install ")).map((line) => line.replace(/\t.*/, ""))).toEqual(["directory/"]);
});

test("zsh offers the same", async () => {
  expect(await zsh("ins")).toEqual(["install:install the plugins for the container runtime"]);
  expect(await zsh("install", "--only", "ptp,vl")).toEqual(["ptp,vlan"]);
  expect(await zsh("install", "")).toEqual(["files -/"]);
  expect(await zsh("completions", "z")).toEqual(["zsh"]);
});

test("zsh finds the completion as a separate file, by the name in its first line", async () => {
  mkdirSync(`${folder}/functions`);
  writeFileSync(`${folder}/functions/_weft`, await succeed(`${bin}/weft`, ["completions", "zsh"]));
  const script = `fpath=(${folder}/functions $fpath); autoload -U compinit; compinit -u -d ${folder}/dump; print $_comps[weft]`;
  expect(await succeed("zsh", ["-f", "-c", script])).toBe("_weft\n");
});

/** `weft completions` in the shells themselves. */
import { mkdirSync, writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { Cleanup } from "./harness/cleanup.ts";
import { succeed } from "./harness/command.ts";
import { makeFolder } from "./harness/folder.ts";
import { OURS } from "./harness/plugin-bed.ts";

const cleanup = new Cleanup();
afterAll(() => cleanup.run());
const folder = makeFolder("completions", cleanup);
mkdirSync(`${folder}/directory`);
writeFileSync(`${folder}/file`, "");
const env = { PATH: `${OURS}:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: folder, TERM: "dumb" };
const lines = (text: string) => text.split("\n").filter(Boolean).sort();

/** As the shell would at the tabulator key: it sets the words, and calls what is registered for weft. */
async function bash(...words: string[]): Promise<string[]> {
  const script = `set -eu; compopt() { :; }; cd ${folder}; eval "$(weft completions bash)"
    [ "$(complete -p weft)" = "complete -F _weft weft" ]
    COMP_WORDS=(weft "$@"); COMP_CWORD=$#; _weft; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return lines(await succeed("bash", ["-c", script, "bash", ...words], { env }));
}

async function fish(line: string): Promise<string[]> {
  const script = `cd ${folder}; weft completions fish | source; complete -C "$argv[1]"`;
  return lines(await succeed("fish", ["--no-config", "-c", script, line], { env }));
}

/** The completion system's own functions, in place of a terminal: they say what they were given. */
async function zsh(...words: string[]): Promise<string[]> {
  const script = `compdef() { }; _files() { print -r -- "files $*" }; _describe() { print -rl -- "\${(@P)2}" }
    cd ${folder}; eval "$(weft completions zsh)"; words=(weft "$@"); CURRENT=\${#words}; _weft`;
  return lines(await succeed("zsh", ["-f", "-c", script, "zsh", ...words], { env }));
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

test("fish offers the same, with what each means", async () => {
  expect(await fish("weft ins")).toEqual(["install\tput the plugins where the container runtime looks for them"]);
  expect((await fish("weft ipam ")).map((line) => line.replace(/\t.*/, ""))).toEqual(["--help", "gc", "ls"]);
  expect(await fish("weft install --dr")).toEqual(["--dry-run\tsay what would be done, and change nothing"]);
  expect(await fish("weft completions ")).toEqual(["bash", "fish", "zsh"]);
  expect((await fish("weft install ")).map((line) => line.replace(/\t.*/, ""))).toEqual(["directory/"]);
});

test("zsh offers the same", async () => {
  expect(await zsh("ins")).toEqual(["install:put the plugins where the container runtime looks for them"]);
  expect(await zsh("install", "--only", "ptp,vl")).toEqual(["ptp,vlan"]);
  expect(await zsh("install", "")).toEqual(["files -/"]);
  expect(await zsh("completions", "z")).toEqual(["zsh"]);
});

test("zsh finds it as a file of its own, by the name that its first line gives", async () => {
  mkdirSync(`${folder}/functions`);
  writeFileSync(`${folder}/functions/_weft`, await succeed(`${OURS}/weft`, ["completions", "zsh"]));
  const script = `fpath=(${folder}/functions $fpath); autoload -U compinit; compinit -u -d ${folder}/dump; print $_comps[weft]`;
  expect(await succeed("zsh", ["-f", "-c", script], { env })).toBe("_weft\n");
});

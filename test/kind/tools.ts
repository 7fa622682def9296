/** The programs that make and query the cluster. */
import { execFileSync } from "node:child_process";

export interface Tools {
  /** Runs a command whose output is for people. Throws if it fails. */
  run(program: string, ...args: readonly string[]): void;
  /** Returns the output. Throws if the command fails. */
  ask(program: string, ...args: readonly string[]): string;
}

/** The words quoted for a shell. */
export function shellWords(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}

export const realTools: Tools = {
  run(program, ...args) {
    console.log(`+ ${shellWords([program, ...args])}`);
    execFileSync(program, args, { stdio: ["ignore", "inherit", "inherit"] });
  },
  ask(program, ...args) {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 26 });
  },
};

type Words = readonly string[];

/** Prints every command and runs none. `imagine` returns the output of a command after the earlier ones. */
export function dryTools(imagine: (words: Words, earlier: readonly Words[]) => string): Tools {
  const earlier: Words[] = [];
  const answer = (words: Words) => {
    console.log(shellWords(words));
    const output = imagine(words, earlier);
    earlier.push(words);
    return output;
  };
  return { run: (...words) => void answer(words), ask: (...words) => answer(words) };
}

/** The programs that the cluster is made and asked with. */
import { execFileSync } from "node:child_process";

export interface Tools {
  /** Runs a command whose output is for whoever watches. Throws when it fails. */
  run(program: string, ...args: readonly string[]): void;
  /** Returns what it prints. Throws when it fails. */
  ask(program: string, ...args: readonly string[]): string;
}

/** What a shell would take for these words. */
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

/** Prints every command and runs none; `imagine` says what a command would print behind the earlier ones. */
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

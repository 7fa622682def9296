/**
 * The environment of the calls: network namespaces for the nodes and pods of each side, with the files that the calls
 * read.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { BenchCase, Call, Program, Sample, Side } from "./case.ts";
import { FLOORS, floorOf, RUNNER, TABLES } from "./compile.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The folders of the executables. */
export const FOLDERS: Readonly<Record<Program, string>> = {
  weft: `${ROOT}dist/bin`,
  reference: `${ROOT}.cache/reference-plugins/bin`,
  floor: FLOORS,
};

const REMEDIES: Readonly<Record<Program, string>> = {
  weft: "npm run build",
  reference: "hack/setup reference",
  floor: "npm run bench",
};

export class Bed {
  readonly #folder = mkdtempSync(`${tmpdir()}/weft-bench-`);
  readonly #name = `weft-bench-${process.pid}`;
  readonly #namespaces: string[] = [];
  readonly #case: BenchCase;

  /** Throws with a remedy if a file is missing. */
  constructor(benchCase: BenchCase) {
    if (process.getuid?.() !== 0)
      throw new Error("the benchmark makes network namespaces, which needs root: run it as root");
    this.#case = benchCase;
    try {
      for (const side of benchCase.sides) this.#prepare(side);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Runs the calls one after another. Throws the output of the first failed call. */
  async run(calls: readonly Call[], onSample: (count: number) => void = () => undefined): Promise<Sample[]> {
    const lines = await this.#start([], calls, onSample);
    return lines.map((line) => {
      const [nanoseconds = Number.NaN, peakKib = Number.NaN] = line.split(" ").map(Number);
      return { milliseconds: nanoseconds / 1e6, peakKib };
    });
  }

  close(): void {
    for (const name of this.#namespaces) spawnSync("ip", ["netns", "del", name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #start(args: string[], calls: readonly Call[], onLine: (count: number) => void): Promise<string[]> {
    const runner = spawn(RUNNER, args, {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: process.env.PATH, CNI_IFNAME: "eth0" },
    });
    const lines: string[] = [];
    let errors = "";
    runner.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
    const reader = createInterface({ input: runner.stdout }).on("line", (line) => onLine(lines.push(line)));
    const readAll = new Promise((resolve) => reader.once("close", resolve));
    const exited = new Promise<number | null>((resolve) => runner.once("close", resolve));
    // A runner that has exited after a failed call does not read the rest.
    runner.stdin.on("error", () => undefined);
    runner.stdin.end(calls.map((call) => this.#line(call)).join(""));
    const [status] = await Promise.all([exited, readAll]);
    if (status === 0) return lines;
    const failed = calls[lines.length];
    throw new Error(`${failed?.step.verb} of ${failed?.side.name}'s ${failed?.step.plugin} failed: ${errors.trim()}`);
  }

  #prepare(side: Side): void {
    this.#add(this.#node(side));
    this.#add(this.#pod(side));
    execFileSync("ip", ["-n", this.#node(side), "link", "set", "lo", "up"]);
    if (side.program === "floor") this.#inNode(side, "nft", "-f", TABLES);
    for (const { plugin } of this.#case.measures.flatMap(({ steps }) => steps)) {
      const name = this.#executable(side, plugin, "ADD");
      if (!existsSync(name)) throw new Error(`${name} is missing: run ${REMEDIES[side.program]}`);
      const configuration = this.#case.configure(plugin, side, `${this.#folder}/networks`);
      writeFileSync(this.#configuration(side, plugin), JSON.stringify(configuration));
      const { name: network } = configuration as { name: string };
      mkdirSync(`${this.#folder}/networks/${network}`, { recursive: true });
    }
  }

  #inNode(side: Side, command: string, ...args: string[]): void {
    execFileSync("ip", ["netns", "exec", this.#node(side), command, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  }

  #add(name: string): void {
    execFileSync("ip", ["netns", "add", name]);
    this.#namespaces.push(name);
  }

  #line({ side, step, round }: Call): string {
    const result = `${this.#folder}/${side.index}.result`;
    return `${[
      `/run/netns/${this.#node(side)}`,
      this.#executable(side, step.plugin, step.verb),
      step.verb,
      `bench-${round}`,
      `/run/netns/${this.#pod(side)}`,
      this.#configuration(side, step.plugin),
      step.hasPrevious ? result : "-",
      step.keepsResult ? result : "-",
    ].join("\t")}\n`;
  }

  #executable({ program }: Side, plugin: string, verb: string): string {
    return `${FOLDERS[program]}/${program === "floor" ? floorOf(plugin, verb) : plugin}`;
  }

  #configuration(side: Side, plugin: string): string {
    return `${this.#folder}/${side.index}-${plugin}.conf`;
  }

  #node(side: Side): string {
    return `${this.#name}-node${side.index}`;
  }

  #pod(side: Side): string {
    return `${this.#name}-pod${side.index}`;
  }
}

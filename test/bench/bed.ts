/** The environment of a case: network namespaces for the node and the pods of each side, with the files of the calls. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import type { Cleanup } from "../live/harness/cleanup.ts";
import type { BenchCase, Call, Program, Side } from "./case.ts";
import { FLOORS, floorOf, TABLES } from "./compile.ts";
import { reserveAddresses, writeForeignChains } from "./load.ts";
import { type RunnerCall, runInTurn } from "./runner.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The folders of the executables. */
export const FOLDERS: Readonly<Record<Program, string>> = {
  reference: `${ROOT}.cache/reference-plugins/bin`,
  floor: FLOORS,
  weft: `${ROOT}dist/bin`,
};

const REMEDIES: Readonly<Record<Program, string>> = {
  reference: "run hack/setup reference",
  floor: "install gcc",
  weft: "run npm run build",
};

/** The most mappings of one call: the configuration and its result must fit into pipes. */
const PORTS_PER_CALL = 100;
const FIRST_PORT = 20_000;

export class Bed {
  readonly #folder = mkdtempSync(`${tmpdir()}/weft-bench-`);
  readonly #name = `weft-bench-${process.pid}`;
  readonly #namespaces: string[] = [];
  readonly #case: BenchCase;

  private constructor(benchCase: BenchCase) {
    this.#case = benchCase;
  }

  /** Throws with a remedy if an executable is missing. */
  static async make(benchCase: BenchCase, cleanup: Cleanup): Promise<Bed> {
    if (process.getuid?.() !== 0)
      throw new Error("the benchmark makes network namespaces, which needs root: run it as root");
    const bed = new Bed(benchCase);
    cleanup.push(() => bed.#close());
    for (const side of benchCase.sides) await bed.#prepare(side);
    return bed;
  }

  /** The call with its files and namespaces. */
  locate({ side, step, round, pod }: Call): RunnerCall {
    const result = `${this.#folder}/${side.index}-${pod}.result`;
    return {
      node: `/run/netns/${this.#node(side)}`,
      executable: executableOf(side.program, step.plugin, step.verb),
      verb: step.verb,
      containerId: `bench-${round}-${pod}`,
      pod: `/run/netns/${this.#pod(side, pod)}`,
      configuration: this.#configuration(side, step.plugin),
      previous: step.hasPrevious ? result : undefined,
      output: step.keepsResult ? result : undefined,
    };
  }

  #close(): void {
    for (const name of this.#namespaces) spawnSync("ip", ["netns", "del", name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #prepare(side: Side): Promise<void> {
    this.#add(this.#node(side));
    for (let pod = 0; pod < (this.#case.parallel?.pods ?? 1); pod++) this.#add(this.#pod(side, pod));
    execFileSync("ip", ["-n", this.#node(side), "link", "set", "lo", "up"]);
    if (side.program === "floor") this.#loadRules(side, TABLES);
    const dataDir = `${this.#folder}/networks`;
    const plugins = new Set(this.#case.measures.flatMap(({ steps }) => steps.map(({ plugin }) => plugin)));
    for (const plugin of plugins) {
      const executable = executableOf(side.program, plugin, "ADD");
      if (!existsSync(executable)) throw new Error(`${executable} is missing: ${REMEDIES[side.program]}`);
      const configuration = this.#case.configure(plugin, side, dataDir);
      writeFileSync(this.#configuration(side, plugin), JSON.stringify(configuration));
      const { name } = configuration as { name: string };
      const directory = `${dataDir}/${name}`;
      if (existsSync(directory)) continue;
      mkdirSync(directory, { recursive: true });
      reserveAddresses(directory, `10.${240 + side.index}`, side.load.reservations);
    }
    await this.#mapPorts(side);
    if (side.load.foreignChains > 0) {
      const file = `${this.#folder}/foreign.nft`;
      writeForeignChains(file, side.load.foreignChains);
      this.#loadRules(side, file);
    }
  }

  /** Maps ports to addresses of another network by weft's portmap. */
  async #mapPorts(side: Side): Promise<void> {
    const calls: RunnerCall[] = [];
    for (let from = 0; from < side.load.hostPorts; from += PORTS_PER_CALL) {
      const count = Math.min(PORTS_PER_CALL, side.load.hostPorts - from);
      const configuration = `${this.#folder}/${side.index}-ports-${from}.conf`;
      writeFileSync(configuration, JSON.stringify(portsOf(from, count)));
      calls.push({
        ...{ node: `/run/netns/${this.#node(side)}`, pod: `/run/netns/${this.#pod(side, 0)}` },
        ...{ executable: executableOf("weft", "portmap", "ADD"), verb: "ADD", containerId: `load-${from}` },
        ...{ configuration, previous: undefined, output: undefined },
      });
    }
    await runInTurn(calls);
  }

  #loadRules(side: Side, file: string): void {
    execFileSync("ip", ["netns", "exec", this.#node(side), "nft", "-f", file], { stdio: ["ignore", "ignore", "pipe"] });
  }

  #add(name: string): void {
    execFileSync("ip", ["netns", "add", name]);
    this.#namespaces.push(name);
  }

  #configuration(side: Side, plugin: string): string {
    return `${this.#folder}/${side.index}-${plugin}.conf`;
  }

  #node(side: Side): string {
    return `${this.#name}-node${side.index}`;
  }

  #pod(side: Side, pod: number): string {
    return `${this.#name}-pod${side.index}-${pod}`;
  }
}

function executableOf(program: Program, plugin: string, verb: string): string {
  return `${FOLDERS[program]}/${program === "floor" ? floorOf(plugin, verb) : plugin}`;
}

/** A configuration of portmap with `count` ports of one pod. */
function portsOf(from: number, count: number): object {
  const portMappings = Array.from({ length: count }, (_, at) => {
    return { hostPort: FIRST_PORT + from + at, containerPort: 80, protocol: "tcp" };
  });
  const address = `10.239.${Math.floor(from / PORTS_PER_CALL)}.2/24`;
  return {
    ...{ cniVersion: "1.1.0", name: "bench-load", type: "portmap", runtimeConfig: { portMappings } },
    prevResult: {
      cniVersion: "1.1.0",
      interfaces: [{ name: "eth0", sandbox: "/run/netns/pod" }],
      ips: [{ address, interface: 0 }],
    },
  };
}

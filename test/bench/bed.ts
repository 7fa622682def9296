/**
 * The environment of the calls: a node and a pod for each side, all network namespaces, with the files that the calls
 * read.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { type Call, type Sample, SIDES, type Side, type Verb } from "./call.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const RUNNER = `${ROOT}.cache/bench/runner`;

/** The subjects of measurement, with the executables that their calls use. */
export const SUBJECTS = {
  bridge: ["bridge", "host-local"],
  ptp: ["ptp", "host-local"],
  "host-local": ["host-local"],
  portmap: ["portmap"],
} as const;
export type Subject = keyof typeof SUBJECTS;

/** The folders of both sides' executables. */
export const FOLDERS: Readonly<Record<Side, string>> = {
  weft: `${ROOT}dist/bin`,
  reference: `${ROOT}.cache/reference-plugins/bin`,
};

/** Throws with a remedy if a file is missing. */
export function assertReady(subject: Subject): void {
  if (process.getuid?.() !== 0)
    throw new Error("the benchmark makes network namespaces, which needs root: run it as root");
  const remedies: Record<Side, string> = { weft: "npm run build", reference: "hack/setup reference" };
  for (const side of SIDES)
    for (const name of SUBJECTS[subject])
      if (!existsSync(`${FOLDERS[side]}/${name}`))
        throw new Error(`${FOLDERS[side]}/${name} is missing: run ${remedies[side]}`);
}

export class Bed {
  readonly #folder = mkdtempSync(`${tmpdir()}/weft-bench-`);
  readonly #node = `weft-bench-${process.pid}`;
  readonly #namespaces = [this.#node, ...SIDES.map((side) => this.#pod(side))];
  readonly #subject: Subject;

  /** `inUse` addresses are reserved before the calls. */
  constructor(subject: Subject, inUse: number) {
    this.#subject = subject;
    compileRunner();
    try {
      for (const name of this.#namespaces) execFileSync("ip", ["netns", "add", name]);
      for (const side of SIDES) {
        writeFileSync(`${this.#folder}/${side}.conf`, JSON.stringify(this.#configuration(side)));
        writeFileSync(`${this.#folder}/version.conf`, '{"cniVersion":"1.1.0"}');
        if (inUse > 0) this.#reserve(side, inUse);
      }
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Throws the output of the first failed call. */
  run(calls: readonly Call[]): Sample[] {
    const output = `${this.#folder}/output`;
    const list = calls.map(({ side, verb, containerId }) =>
      [
        `${FOLDERS[side]}/${this.#subject}`,
        verb,
        containerId,
        `/run/netns/${this.#pod(side)}`,
        this.#input(side, verb),
      ].join("\t"),
    );
    const { stdout, stderr, status } = spawnSync("ip", ["netns", "exec", this.#node, RUNNER, output], {
      input: `${list.join("\n")}\n`,
      env: { PATH: process.env.PATH, CNI_IFNAME: "eth0" },
      encoding: "utf8",
      maxBuffer: 64 << 20,
    });
    const lines = stdout.split("\n").filter((line) => line !== "");
    const samples = lines.map((line) => {
      const [, nanoseconds = Number.NaN, peakKib = Number.NaN] = line.split(" ").map(Number);
      return { milliseconds: nanoseconds / 1e6, peakKib };
    });
    if (status === 0 && samples.length === calls.length) return samples;
    const failed = calls[Math.max(0, lines.length - 1)];
    const said = existsSync(output) ? readFileSync(output, "utf8") : "";
    throw new Error(`${failed?.verb} of ${failed?.side} failed: ${said}${stderr}`);
  }

  close(): void {
    for (const name of this.#namespaces) spawnSync("ip", ["netns", "del", name]);
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Reserves addresses one after another, as on a node that was never full. */
  #reserve(side: Side, count: number): void {
    const directory = `${this.#folder}/networks/bench-${side}`;
    mkdirSync(directory, { recursive: true });
    let last = "";
    for (let at = 0; at < count; at++) {
      last = `10.${240 + SIDES.indexOf(side)}.${(at + 2) >> 8}.${(at + 2) & 255}`;
      writeFileSync(`${directory}/${last}`, `${at.toString(16).padStart(64, "0")}\r\neth0`, { mode: 0o600 });
    }
    writeFileSync(`${directory}/last_reserved_ip.0`, last, { mode: 0o600 });
  }

  #pod(side: Side): string {
    return `${this.#node}-${side}`;
  }

  #input(side: Side, verb: Verb): string {
    return `${this.#folder}/${verb === "VERSION" ? "version" : side}.conf`;
  }

  /** The same for both sides, except what they must not share: bridge, subnet and reservations, or ports. */
  #configuration(side: Side): object {
    const at = SIDES.indexOf(side);
    const network = { cniVersion: "1.1.0", name: `bench-${side}`, type: this.#subject };
    if (this.#subject === "portmap") return { ...network, ...portMappings(at) };
    return {
      ...network,
      ...(this.#subject === "bridge" ? { bridge: `bench${at}`, isDefaultGateway: true, hairpinMode: true } : {}),
      mtu: 1450,
      ipam: {
        type: "host-local",
        ranges: [[{ subnet: `10.${240 + at}.0.0/16` }]],
        routes: [{ dst: "10.96.0.0/12" }],
        dataDir: `${this.#folder}/networks`,
      },
    };
  }
}

/** A pod with both families and a port for both TCP and UDP. */
function portMappings(at: number): object {
  return {
    runtimeConfig: {
      portMappings: ["tcp", "udp"].map((protocol) => ({ hostPort: 8080 + at, containerPort: 80, protocol })),
    },
    prevResult: {
      cniVersion: "1.1.0",
      interfaces: [{ name: "eth0", sandbox: "/run/netns/pod" }],
      ips: [
        { address: `10.${240 + at}.0.2/24`, interface: 0 },
        { address: `fd00:${240 + at}::2/64`, interface: 0 },
      ],
    },
  };
}

function compileRunner(): void {
  mkdirSync(`${ROOT}.cache/bench`, { recursive: true });
  const source = fileURLToPath(new URL("runner.c", import.meta.url));
  execFileSync("gcc", ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-static", source, "-o", RUNNER], {
    stdio: ["ignore", "ignore", "inherit"],
  });
}

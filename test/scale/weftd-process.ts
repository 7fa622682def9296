/** The memory and CPU time of a running weftd, from /proc. */
import { readFile } from "node:fs/promises";
import { succeed } from "../live/harness/command.ts";
import type { Namespace } from "../live/harness/namespace.ts";

export interface Memory {
  /** Pages in memory, including those of Node.js's file, which the kernel can drop. */
  readonly residentBytes: number;
  /** The part of that without a file. The kubelet's working set contains it, and not the pages of files. */
  readonly anonymousBytes: number;
  /** The largest residentBytes since the start of the process. */
  readonly peakBytes: number;
}

/** weftd at rest: the largest values within a time without changes, and the share of one processor. */
export interface Rest extends Omit<Memory, "peakBytes"> {
  readonly seconds: number;
  /** From 0 to 1. */
  readonly cpuShare: number;
}

/** The unit of CPU time in /proc (USER_HZ), the same on all architectures of weft. */
const TICKS_PER_SECOND = 100;
const SAMPLE_MS = 1000;

export class WeftdProcess {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** Finds the weftd that runs in a network namespace. */
  static async in({ name }: Namespace): Promise<WeftdProcess> {
    const pids = (await succeed("ip", ["netns", "pids", name])).trim().split("\n");
    for (const pid of pids) {
      const command = await readFile(`/proc/${pid}/cmdline`, "utf8");
      if (command.split("\0").some((word) => word.endsWith("/weftd.cjs"))) return new WeftdProcess(`/proc/${pid}`);
    }
    throw new Error(`no weftd runs in ${name}`);
  }

  async memory(): Promise<Memory> {
    const status = await readFile(`${this.#folder}/status`, "utf8");
    const bytes = (field: string) =>
      Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? Number.NaN) * 1024;
    return { residentBytes: bytes("VmRSS"), anonymousBytes: bytes("RssAnon"), peakBytes: bytes("VmHWM") };
  }

  /** Returns the CPU time of all threads since the start of the process. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`${this.#folder}/stat`, "utf8");
    // The fields after the command, which may contain spaces (proc_pid_stat(5)). utime and stime are fields 14 and 15.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Observes weftd for so many seconds, in which nothing may change. */
  async rest(seconds: number): Promise<Rest> {
    const before = await this.cpuSeconds();
    const samples: Memory[] = [];
    for (const untilMs = performance.now() + seconds * 1000; performance.now() < untilMs; ) {
      samples.push(await this.memory());
      await new Promise((resolve) => setTimeout(resolve, SAMPLE_MS));
    }
    const largest = (pick: (one: Memory) => number) => Math.max(...samples.map(pick));
    return {
      seconds,
      residentBytes: largest((one) => one.residentBytes),
      anonymousBytes: largest((one) => one.anonymousBytes),
      cpuShare: ((await this.cpuSeconds()) - before) / seconds,
    };
  }
}

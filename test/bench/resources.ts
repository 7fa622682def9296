/** What the executables need: space on the disk, and memory. */
import { readdirSync, statSync } from "node:fs";
import type { Program } from "./case.ts";
import type { CaseReport } from "./report.ts";

export interface Resource {
  readonly name: string;
  /** In MiB. A program without a value was not measured. */
  readonly mib: Partial<Readonly<Record<Program, number>>>;
  /** The largest allowed value of weft, in MiB. */
  readonly limitMib: number;
  readonly isKept: boolean;
}

const LIMIT_MIB = 4;

/** `sizes` are those of all executables. The peak is the highest median of the reports' ADDs. */
export function resourcesOf(sizes: Resource["mib"], reports: readonly CaseReport[]): Resource[] {
  const peaks = peaksOf(reports);
  return [
    resourceOf("all executables", sizes),
    ...(peaks.weft === undefined ? [] : [resourceOf("memory of an ADD, peak", peaks)]),
  ];
}

/** The sizes of all plugins in these folders. Floors exist for some plugins only. */
export function sizesOf(folders: Readonly<Record<Program, string>>): Resource["mib"] {
  return { reference: mibOf(folders.reference), weft: mibOf(folders.weft) };
}

/** By program, the highest median of the peaks of ADDs. */
export function peaksOf(reports: readonly CaseReport[]): Resource["mib"] {
  const peaks: Partial<Record<Program, number>> = {};
  for (const report of reports) {
    for (const row of report.rows.filter(({ name }) => name.startsWith("ADD"))) {
      for (const { name, program } of report.sides) {
        const kib = row.sides[name]?.peakKib;
        if (kib !== undefined) peaks[program] = Math.max(peaks[program] ?? 0, kib / 1024);
      }
    }
  }
  return peaks;
}

function resourceOf(name: string, mib: Resource["mib"]): Resource {
  return { name, mib, limitMib: LIMIT_MIB, isKept: (mib.weft ?? 0) <= LIMIT_MIB };
}

/** The size of the files in the folder. Hard links of a file count once; the script that starts weftd does not count. */
function mibOf(folder: string): number {
  const sizes = new Map<number, number>();
  for (const name of readdirSync(folder).filter((name) => name !== "weftd")) {
    const { ino, size, isFile } = fileOf(`${folder}/${name}`);
    if (isFile) sizes.set(ino, size);
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0) / 2 ** 20;
}

function fileOf(path: string): { ino: number; size: number; isFile: boolean } {
  const stat = statSync(path);
  return { ino: stat.ino, size: stat.size, isFile: stat.isFile() };
}

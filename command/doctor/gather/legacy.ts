/** iptables-legacy's chain FORWARD, where its tables are in use. */
import type { System } from "../../../pkg/sys/system.ts";
import { readLegacyFamilies } from "../../node/legacy.ts";
import type { LegacyTable } from "../facts.ts";

const PROGRAM = { 4: "iptables-legacy", 6: "ip6tables-legacy" } as const;
const FOLDERS = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

export function readLegacy(system: System): LegacyTable[] {
  return readLegacyFamilies(system).map((family) => {
    return { family, program: PROGRAM[family], forward: forwardChain(system, PROGRAM[family]) };
  });
}

function forwardChain(system: System, program: string): string | undefined {
  for (const folder of FOLDERS) {
    const path = `${folder}/${program}`;
    if (system.status(path) === undefined) continue;
    const { status, output } = system.execute(path, {
      args: ["-w", "5", "-S", "FORWARD"],
      environment: { PATH: FOLDERS.join(":") },
      input: new Uint8Array(),
    });
    if (status === 0) return new TextDecoder().decode(output);
  }
  return undefined;
}

/** What the kernel should hold, as weftd and the executables work it out, and its words for an operator. */

import { BACKENDS } from "../../pkg/backend/backends.ts";
import { knownDevices } from "../../pkg/backend/contributions.ts";
import { desiredState } from "../../pkg/backend/desired.ts";
import type { DesiredState } from "../../pkg/backend/state.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { KnownNodes } from "./run-dir.ts";

/** The table names all devices that weftd means this node to have: also those on which peers may still send the old way. */
export function desireOf(table: KnownNodes, { links }: Pick<KernelSnapshot, "links">): DesiredState {
  const known = knownDevices(links, table.deviceMacs);
  const kept = BACKENDS.map((backend) => {
    const meant = (known.get(backend.name) ?? []).filter(({ name }) => table.deviceMacs.has(name));
    return [backend.name, backend.channels.of(meant)] as const;
  });
  return desiredState(table.conf, table.node, table.peers, known, new Map(kept));
}

/** `dev index 5` becomes `dev eth0`, so that a command can be run as it is printed. */
export function withNames(command: string, { links }: Pick<KernelSnapshot, "links">): string {
  return command.replace(/\bindex (\d+)/g, (text, index) => {
    return links.find((link) => link.index === Number(index))?.name ?? text;
  });
}

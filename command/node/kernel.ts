/** Computes the desired state of the kernel, as weftd and the executables do, and formats commands for operators. */

import { BACKENDS } from "../../pkg/backend/backends.ts";
import { knownDevices } from "../../pkg/backend/contributions.ts";
import { desiredState } from "../../pkg/backend/desired.ts";
import type { DesiredState } from "../../pkg/backend/state.ts";
import type { KernelSnapshot } from "../../pkg/kernel/snapshot.ts";
import type { KnownNodes } from "./run-dir.ts";

/**
 * Computes the desired state. The table lists all devices that this node should have, including devices that peers
 * still use for a while.
 */
export function desireOf(table: KnownNodes, { links }: Pick<KernelSnapshot, "links">): DesiredState {
  const known = knownDevices(links, table.deviceMacs);
  const kept = BACKENDS.map((backend) => {
    const meant = (known.get(backend.name) ?? []).filter(({ name }) => table.deviceMacs.has(name));
    return [backend.name, backend.channels.of(meant)] as const;
  });
  return desiredState(table.conf, table.node, table.peers, known, new Map(kept));
}

/** Replaces `dev index 5` by `dev eth0`, so that a command can be run as printed. */
export function withNames(command: string, { links }: Pick<KernelSnapshot, "links">): string {
  return command.replace(/\bindex (\d+)/g, (text, index) => {
    return links.find((link) => link.index === Number(index))?.name ?? text;
  });
}

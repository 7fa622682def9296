/**
 * Finds checks that cannot observe their subject: weftd's container has few of the node's files and no other processes.
 */
import type { System } from "../../../pkg/sys/system.ts";
import { isOnMachine } from "../../node/namespaces.ts";
import type { LeaseFacts } from "../facts.ts";

const SYSTEMD = "/run/systemd";

export function findUnseen(
  system: System,
  cniBinDir: string,
  { isComplete }: Pick<LeaseFacts, "isComplete">,
): ReadonlyMap<string, string> {
  const unseen = new Map<string, string>();
  if (!isComplete) unseen.set("leaked-addresses", "some network namespaces cannot be read from here");
  if (isOnMachine(system)) return unseen;
  const isAbsent = (path: string) => system.status(path) === undefined;
  if (isAbsent(cniBinDir)) unseen.set("plugins", `${cniBinDir} is not in this container`);
  if (isAbsent(SYSTEMD)) {
    for (const check of ["systemd-networkd", "network-manager"])
      unseen.set(check, "the machine's services cannot be read from this container");
  }
  return unseen;
}

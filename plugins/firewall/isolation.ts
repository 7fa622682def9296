/**
 * Isolates pods on the same bridge. IP filters do not see frames between the bridge's ports (unless br_netfilter is
 * on), so the bridge itself must not forward frames between isolated ports. The setting is removed with the port.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import type { Result } from "../../pkg/cni/result.ts";
import type { Undo } from "../../pkg/cni/undo.ts";
import { changeLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Returns the host's end of the pod's veth pair, which `bridge` lists after the bridge. Undefined if there is none. */
function portOf({ interfaces }: Result): string | undefined {
  return interfaces.slice(1).find(({ sandbox }) => !sandbox)?.name;
}

export function isolatePort(system: System, result: Result, undo: Undo): void {
  withPort(system, result, (host, name) => {
    if (findLink(host, name)?.port?.isIsolated === true) return;
    undo.push(() => withPort(system, result, (again) => again.run(changeLink(name, { port: { isolated: false } }))));
    host.run(changeLink(name, { port: { isolated: true } }));
  });
}

/** Throws `CniError` if the port is not isolated. */
export function checkIsolation(system: System, result: Result): void {
  withPort(system, result, (host, name) => {
    if (findLink(host, name)?.port?.isIsolated !== true) throw wrong(`the bridge port ${name} is not isolated`);
  });
}

function withPort(system: System, result: Result, work: (host: BlockingNetlink, name: string) => void): void {
  const name = portOf(result);
  if (name === undefined) return;
  const host = openRoute(system);
  try {
    work(host, name);
  } finally {
    host.close();
  }
}

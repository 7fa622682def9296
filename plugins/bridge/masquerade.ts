/**
 * ipMasq: the attachment's entries in the node's table of masqueraded pods, over one nfnetlink socket.
 */
import { messageOf } from "../../pkg/cni/errors.ts";
import type { ResultAddress } from "../../pkg/cni/result.ts";
import { networkOf } from "../../pkg/ip/prefix.ts";
import { addPodMasquerade, deletePodMasquerade, podMasqueradeDumps } from "../../pkg/kernel/pod-masquerade.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Message, Request } from "../../pkg/netlink/message.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

/** Others change the table between our look and our change only now and then; so often in a row means another cause. */
const ATTEMPTS = 8;
const PAUSE_MS = 5;

/** Repeating it is safe; an address that an older attachment left behind goes over to `owner`. */
export function addMasquerade(system: System, owner: string, ips: readonly ResultAddress[]): void {
  if (ips.length === 0) return;
  const entries = ips.map(({ address }) => ({ owner, address: address.address, subnet: networkOf(address) }));
  try {
    changeTable(system, (dumped) => addPodMasquerade(dumped, entries));
  } catch (error) {
    // A kernel without nf_tables answers EINVAL or has no such socket; one without the masquerade expression, ENOENT.
    const isUnsupported = lacksNetfilter(error) || isNetlinkError(error, "ENOENT", "EOPNOTSUPP");
    const advice = isUnsupported ? "; ipMasq needs a kernel with nf_tables, nft_chain_nat and nft_masq" : "";
    throw new Error(`masquerade of ${owner}: ${messageOf(error)}${advice}`, { cause: error });
  }
}

/** Silent when nothing is there, the table and the kernel's support for it included. */
export function removeMasquerade(system: System, isWanted: (mark: string) => boolean): void {
  try {
    changeTable(system, (dumped) => deletePodMasquerade(dumped, isWanted));
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
}

/** Looks, plans, commits; anew when another executable changed the table in between. */
function changeTable(system: System, plan: (dumped: readonly Message[]) => Request[]): void {
  const netfilter = openNetfilter(system);
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        netfilter.commit(plan(dumpAll(netfilter)));
        return;
      } catch (error) {
        // EINTR: a dump that changes interrupted each time.
        if (attempt === ATTEMPTS || !isNetlinkError(error, "EEXIST", "ENOENT", "EINTR")) throw error;
        system.sleep(PAUSE_MS * attempt);
      }
    }
  } finally {
    netfilter.close();
  }
}

function dumpAll(netfilter: BlockingNetlink): Message[] {
  return podMasqueradeDumps().flatMap((dump) => {
    try {
      return [...netfilter.dump(dump)];
    } catch (error) {
      if (isNetlinkError(error, "ENOENT")) return [];
      throw error;
    }
  });
}

/** Reading is refused only where the subsystem is absent; a change that is refused says something else. */
function lacksNetfilter(error: unknown): boolean {
  if (isNetlinkError(error, "EINVAL", "EOPNOTSUPP")) return error.request.isDump;
  return isSystemError(error, "EPROTONOSUPPORT");
}

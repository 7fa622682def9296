/**
 * ipMasq: the attachment's entries in the node's table of masqueraded pods, over one nfnetlink socket.
 */
import { messageOf } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { ResultAddress } from "../cni/result.ts";
import type { Undo } from "../cni/undo.ts";
import { networkOf } from "../ip/prefix.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { changeRuleset, lacksNetfilter } from "../netlink/ruleset.ts";
import type { System } from "../sys/system.ts";
import {
  addPodMasquerade,
  deletePodMasquerade,
  type PodMasquerade,
  podMasqueradeDumps,
} from "../tables/pod-masquerade.ts";
import { ownerOf } from "./owner.ts";

/** ipMasq of a request's attachment, taken back when ADD fails later. */
export function masqueradeAttachment(request: CniRequest, ips: readonly ResultAddress[], undo: Undo): void {
  const owner = ownerOf(request);
  undo.push(() => removeMasquerade(request.system, (mark) => mark === owner));
  addMasquerade(request.system, owner, ips);
}

/** Repeating it is safe; an address that an older attachment left behind goes over to `owner`. */
export function addMasquerade(system: System, owner: string, ips: readonly ResultAddress[]): void {
  if (ips.length === 0) return;
  const entries = masqueradesOf(owner, ips);
  try {
    changeRuleset(system, podMasqueradeDumps(), (dumped) => addPodMasquerade(dumped, entries));
  } catch (error) {
    // A kernel without nf_tables answers EINVAL or has no such socket; one without the masquerade expression, ENOENT.
    const isUnsupported = lacksNetfilter(error) || isNetlinkError(error, "ENOENT", "EOPNOTSUPP");
    const advice = isUnsupported ? "; ipMasq needs a kernel with nf_tables, nft_chain_nat and nft_masq" : "";
    throw new Error(`masquerade of ${owner}: ${messageOf(error)}${advice}`, { cause: error });
  }
}

/** What the table should hold for an attachment with ipMasq. */
export function masqueradesOf(owner: string, ips: readonly ResultAddress[]): PodMasquerade[] {
  return ips.map(({ address }) => ({ owner, address: address.address, subnet: networkOf(address) }));
}

/** True when there was something; silent when not, the table and the kernel's support for it included. */
export function removeMasquerade(system: System, isWanted: (mark: string) => boolean): boolean {
  let wasThere = false;
  try {
    changeRuleset(system, podMasqueradeDumps(), (dumped) => {
      const requests = deletePodMasquerade(dumped, isWanted);
      wasThere = requests.length > 0;
      return requests;
    });
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
  return wasThere;
}

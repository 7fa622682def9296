/** ipMasq: the attachment's entries in the node's table of masqueraded pods, over one nfnetlink socket. */
import { messageOf } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { ResultAddress } from "../cni/result.ts";
import type { Undo } from "../cni/undo.ts";
import { networkOf } from "../ip/prefix.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import { changeRuleset, lacksNetfilter } from "../netlink/ruleset.ts";
import { addToStamped } from "../nft/stamped-change.ts";
import type { System } from "../sys/system.ts";
import {
  addPodMasquerade,
  deletePodMasquerade,
  deleteSeenMasquerade,
  type PodMasquerade,
  podMasquerade,
  podMasqueradeElementDumps,
  podMasqueradeQuestions,
} from "../tables/pod-masquerade.ts";
import { ownAddresses } from "./addresses.ts";
import type { OwnElements } from "./element-removal.ts";
import { lastResult } from "./own-pod.ts";
import { ownerOf } from "./owner.ts";

/** Adds ipMasq for a request's attachment. Pushes an undo step that removes it if ADD fails later. */
export function masqueradeAttachment(request: CniRequest, ips: readonly ResultAddress[], undo: Undo): void {
  const owner = ownerOf(request);
  undo.push(() => removeMasquerade(request.system, (mark) => mark === owner));
  addMasquerade(request.system, owner, ips);
}

/** Idempotent. If an older attachment left an entry for one of the addresses, `owner` takes it over. */
export function addMasquerade(system: System, owner: string, ips: readonly ResultAddress[]): void {
  if (ips.length === 0) return;
  const entries = masqueradesOf(owner, ips);
  try {
    addToStamped(system, podMasquerade(entries), (dumped) => addPodMasquerade(dumped, entries));
  } catch (error) {
    // A kernel without nf_tables returns EINVAL or has no such socket. A kernel without the masquerade expression
    // returns ENOENT.
    const isUnsupported = lacksNetfilter(error) || isNetlinkError(error, "ENOENT", "EOPNOTSUPP");
    const advice = isUnsupported ? "; ipMasq needs a kernel with nf_tables, nft_chain_nat and nft_masq" : "";
    throw new Error(`cannot masquerade ${owner}: ${messageOf(error)}${advice}`, { cause: error });
  }
}

/** Returns the entries that the table should have for an attachment with ipMasq. */
export function masqueradesOf(owner: string, ips: readonly ResultAddress[]): PodMasquerade[] {
  return ips.map(({ address }) => ({ owner, address: address.address, subnet: networkOf(address) }));
}

/**
 * Returns true if entries were removed. Succeeds if the entries, the table or the kernel's support for it are missing.
 */
export function removeMasquerade(system: System, isWanted: (mark: string) => boolean): boolean {
  let wasThere = false;
  try {
    changeRuleset(system, podMasqueradeElementDumps(), (dumped) => {
      const requests = deletePodMasquerade(dumped, isWanted);
      wasThere = requests.length > 0;
      return requests;
    });
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
  return wasThere;
}

/** The entries that ADD made for the attachment, for DEL. Another attachment may have taken over an entry since. */
export function ownMasquerade(request: CniRequest): OwnElements {
  const owner = ownerOf(request);
  const result = lastResult(request);
  const entries = result === undefined ? [] : masqueradesOf(owner, ownAddresses(result, request.ifName));
  return {
    questions: podMasqueradeQuestions(entries),
    remove: (seen) => (entries.length === 0 ? undefined : deleteSeenMasquerade(seen, entries)),
    dumps: podMasqueradeElementDumps(),
    removeMarked: (dumped) => deletePodMasquerade(dumped, (mark) => mark === owner),
  };
}

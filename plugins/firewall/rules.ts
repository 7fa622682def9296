/**
 * The attachment's rules: its entries in our own table, and its place in other programs' forward chains, changed together
 * in one transaction.
 */
import { CniError, ErrorCode, messageOf } from "../../pkg/cni/errors.ts";
import type { Address } from "../../pkg/ip/address.ts";
import {
  addToFirewall,
  type Firewall,
  type FirewallPod,
  firewallDumps,
  holdsFirewall,
  removeFromFirewall,
} from "../../pkg/kernel/firewall.ts";
import {
  acceptForwarded,
  type ForwardedPod,
  type ForwardOptions,
  forgetForwarded,
  lookAtForwarding,
} from "../../pkg/kernel/foreign-forward.ts";
import type { ForeignRuleset } from "../../pkg/kernel/foreign-rules.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Message } from "../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";

/** What a change is planned from. */
interface Seen {
  readonly generation: number | undefined;
  readonly own: readonly Message[];
  readonly foreign: ForeignRuleset;
}

const look =
  (options: ForwardOptions) =>
  (netfilter: BlockingNetlink): Seen => {
    const generation = readGeneration(netfilter);
    return {
      generation,
      own: readRuleset(netfilter, firewallDumps()),
      foreign: lookAtForwarding((questions) => readRuleset(netfilter, questions), options),
    };
  };

/** Each owner with all its addresses. */
function forwarded({ pods }: Firewall): ForwardedPod[] {
  const owners = [...new Set(pods.map(({ owner }) => owner))];
  return owners.map((owner) => ({
    owner,
    addresses: pods.filter((pod) => pod.owner === owner).map(({ address }) => address),
  }));
}

/** Repeating it is safe. */
export function addRules(system: System, wanted: Firewall, options: ForwardOptions): void {
  try {
    changeSeen(system, look(options), ({ own, foreign }) => ({
      requests: [...addToFirewall(own, wanted), ...acceptForwarded(foreign, forwarded(wanted), options)],
      generation: undefined,
    }));
  } catch (error) {
    throw new Error(`firewall: ${messageOf(error)}${adviceFor(error)}`, { cause: error });
  }
}

function adviceFor(error: unknown): string {
  if (lacksNetfilter(error)) return "; firewall needs a kernel with nf_tables";
  if (!isNetlinkError(error)) return "";
  // The table belongs to a program that lets nobody else change it (NFT_TABLE_F_OWNER).
  if (error.code === "EPERM")
    return "; the table's owner keeps others out of it: let that program accept the traffic (firewalld: set backend to firewalld)";
  // The extension of xtables that iptables' own rules are made of.
  if (error.code === "ENOENT" || error.code === "EOPNOTSUPP")
    return "; rules among those of iptables need a kernel with nft_compat and xt_conntrack";
  return "";
}

/** Addresses that the table knew of before a removal. */
export interface Removed {
  readonly gone: readonly Address[];
  readonly left: readonly Address[];
}

/** Silent when nothing is there. */
export function removeRules(system: System, isWanted: (owner: string) => boolean, options: ForwardOptions): Removed {
  try {
    const removal = removeOnce(system, isWanted, options);
    // Of two that leave at once each sees the other; whoever was last sees nobody now.
    if (removal.hasChanged && removal.sharesWithOthers) removeOnce(system, isWanted, options);
    return removal;
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    return { gone: [], left: [] };
  }
}

function removeOnce(
  system: System,
  isWanted: (owner: string) => boolean,
  options: ForwardOptions,
): Removed & { readonly hasChanged: boolean; readonly sharesWithOthers: boolean } {
  let removed = { gone: [] as Address[], left: [] as Address[], hasChanged: false, sharesWithOthers: false };
  changeSeen(system, look(options), ({ generation, own, foreign }) => {
    const [removal, forgotten] = [removeFromFirewall(own, isWanted), forgetForwarded(foreign, isWanted, options)];
    const requests = [...removal.requests, ...forgotten.requests];
    const addresses = (pods: readonly FirewallPod[]) => pods.map(({ address }) => address);
    removed = {
      ...{ gone: addresses(removal.pods), left: addresses(removal.left), hasChanged: requests.length > 0 },
      sharesWithOthers: removal.sharesWithOthers || forgotten.sharesWithOthers,
    };
    return { requests, generation: removal.needsGeneration || forgotten.needsGeneration ? generation : undefined };
  });
  return removed;
}

/** Throws `CniError` where a rule of `wanted` is missing. */
export function checkRules(system: System, wanted: Firewall, options: ForwardOptions): void {
  const netfilter = openNetfilter(system);
  try {
    const { own, foreign } = look(options)(netfilter);
    if (!holdsFirewall(own, wanted)) {
      throw new CniError(
        ErrorCode.internal,
        "CHECK: the container's entries in table inet weft_firewall are not as ADD made them",
      );
    }
    const missing = acceptForwarded(foreign, forwarded(wanted), options);
    if (missing.length === 0) return;
    throw new CniError(
      ErrorCode.internal,
      `CHECK: forwarded packets are dropped: missing ${missing.map(({ text }) => text).join("; ")}`,
    );
  } finally {
    netfilter.close();
  }
}

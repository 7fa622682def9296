/**
 * The attachment's rules: its entries in our own table, and its place in other programs' forward chains, changed together
 * in one transaction.
 *
 * CNI-FORWARD in iptables' filter table holds two rules for each address of the node. ADD and DEL do not read them: the
 * kernel echoes the handles of new rules, ADD keeps them beside the pod's address in our table, and DEL asks for the
 * rules with these handles alone. Where a handle is missing or leads to another rule (iptables-restore gives every rule a
 * new one), all of the chain is read.
 */

import { keepRecords } from "../../pkg/attachment/firewall/records.ts";
import { messageOf } from "../../pkg/cni/errors.ts";
import { POD_TABLE, PRIVATE_CHAIN } from "../../pkg/footprint.ts";
import { isolatedBridges, privateChainOf, rulesOfAddress } from "../../pkg/foreign/cni-forward.ts";
import { acceptForwarded, type ForwardedPod, type ForwardOptions } from "../../pkg/foreign/foreign-forward.ts";
import { isPrivate, leadsTo } from "../../pkg/foreign/forward-chains.ts";
import { isolationDumps, lookAtForwarding } from "../../pkg/foreign/forward-look.ts";
import { type Forgetting, forgetForwarded, isAbandoned } from "../../pkg/foreign/forward-removal.ts";
import { type Address, isSameAddress } from "../../pkg/ip/address.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Query } from "../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readHead, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { chainRequest, type NftRuleset, readChains, readRules, ruleRequest, rulesDump } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import {
  addToFirewall,
  deleteRuleRecords,
  type Firewall,
  type FirewallPod,
  firewallDumps,
  holdsFirewall,
  type RuleRecord,
  readFirewall,
  readRuleRecords,
  removeFromFirewall,
  ruleRecordRequests,
  type SeenFirewall,
} from "../../pkg/tables/firewall.ts";

/** What a change is planned from. */
interface Seen {
  readonly generation: number | undefined;
  readonly own: SeenFirewall;
  readonly foreign: NftRuleset;
  /** Bridges that the reference plugin closes to each other. */
  readonly isolated: readonly string[];
  /** Of the addresses in question. */
  readonly records: readonly RuleRecord[];
}

interface Scope {
  readonly adminChain: string;
  /** Whose rules are in question. */
  readonly addressesIn: (own: SeenFirewall) => readonly Address[];
  /** What is read of CNI-FORWARD beside the recorded rules: all of it, or the rule that leads to the administrator's chain. */
  readonly reads: "all" | "structure" | "nothing";
}

/** How far from its head CNI-FORWARD is looked through for the rule that leads to the administrator's chain. */
const HEAD = 8;

function look(system: System, netfilter: BlockingNetlink, { adminChain, addressesIn, reads }: Scope): Seen {
  const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
  const generation = readGeneration(netfilter);
  const own = readFirewall(read(firewallDumps()));
  const foreign = lookAtForwarding(read, { adminChain }, { isShallow: reads !== "all" });
  const isolated = isolatedBridges(readRules(read(isolationDumps())));
  const records = readRuleRecords(read(ruleRecordRequests(addressesIn(own))));
  const seen = { generation, own, foreign, isolated, records };
  if (reads === "all") return seen;
  const recorded = records.flatMap(({ address, handles }) =>
    handles.map((handle) => ruleRequest(privateChainOf(address.family), handle)),
  );
  const heads = reads === "structure" ? foreign.chains.filter(isPrivate) : [];
  const structure = heads
    .flatMap((place) => readRules(readHead(system, rulesDump(place)).slice(0, HEAD)))
    .filter((rule) => leadsTo(rule, adminChain));
  return { ...seen, foreign: { ...foreign, rules: [...foreign.rules, ...structure, ...readRules(read(recorded))] } };
}

/** Each owner with all its addresses. */
function forwarded({ pods }: Firewall): ForwardedPod[] {
  const owners = [...new Set(pods.map(({ owner }) => owner))];
  return owners.map((owner) => ({
    owner,
    addresses: pods.filter((pod) => pod.owner === owner).map(({ address }) => address),
  }));
}

/**
 * Repeating it is safe. `isolatedElsewhere` are bridges that the reference plugin closes to each other in tables that no
 * netlink reaches.
 */
export function addRules(
  system: System,
  wanted: Firewall,
  options: ForwardOptions,
  isolatedElsewhere: readonly string[],
): void {
  const scope: Scope = {
    adminChain: options.adminChain,
    addressesIn: () => addressesOf(wanted.pods),
    // Unless the rules go there in any case, iptables' chains are read as far as it takes to know whether they drop.
    reads: options.inFilter === "always" ? "structure" : "all",
  };
  try {
    let records: readonly RuleRecord[] = [];
    const echoes = changeSeen(
      system,
      (netfilter) => look(system, netfilter, scope),
      (seen) => {
        records = seen.records;
        const entries = addToFirewall(seen.own, wanted, [...seen.isolated, ...isolatedElsewhere]);
        const accepts = acceptForwarded(seen.foreign, forwarded(wanted), options);
        return { requests: [...entries, ...accepts], generation: undefined };
      },
    );
    keepRecords(system, addressesOf(wanted.pods), records, echoes);
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
export function removeRules(
  system: System,
  isWanted: (owner: string) => boolean,
  { adminChain }: Pick<ForwardOptions, "adminChain">,
  isolatedElsewhere: readonly string[],
): Removed {
  const once = (isWhole: boolean) => removeOnce(system, isWanted, adminChain, isolatedElsewhere, isWhole);
  try {
    const removal = once(false);
    // Of two that leave at once each sees the other; a second look after the last change sees neither.
    if (removal.hasChanged && (removal.sharesWithOthers || hasAbandonedChain(system))) once(true);
    return removal;
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    return { gone: [], left: [] };
  }
}

function hasAbandonedChain(system: System): boolean {
  const netfilter = openNetfilter(system);
  try {
    const places = ([4, 6] as const).map(privateChainOf);
    return readChains(readRuleset(netfilter, places.map(chainRequest))).some(isAbandoned);
  } finally {
    netfilter.close();
  }
}

function removeOnce(
  system: System,
  isWanted: (owner: string) => boolean,
  adminChain: string,
  isolatedElsewhere: readonly string[],
  startsWhole: boolean,
): Removed & { readonly hasChanged: boolean; readonly sharesWithOthers: boolean } {
  let removed = { gone: [] as Address[], left: [] as Address[], hasChanged: false, sharesWithOthers: false };
  let isWhole = startsWhole;
  const addressesIn = (own: SeenFirewall) => leavingOf(own, isWanted);
  const lookAndForget = (netfilter: BlockingNetlink) => {
    const seen = look(system, netfilter, { adminChain, addressesIn, reads: isWhole ? "all" : "nothing" });
    const addresses = addressesIn(seen.own);
    const forgotten = forgetForwarded(seen.foreign, { isWanted, addresses }, { adminChain });
    return { ...seen, forgotten, isEnough: isWhole || !needsWhole(seen, addresses, forgotten) };
  };
  changeSeen(
    system,
    (netfilter) => {
      const seen = lookAndForget(netfilter);
      if (seen.isEnough) return seen;
      isWhole = true;
      return lookAndForget(netfilter);
    },
    ({ generation, own, isolated, records, forgotten }) => {
      const removal = removeFromFirewall(own, isWanted, [...isolated, ...isolatedElsewhere]);
      const requests = [...removal.requests, ...deleteRuleRecords(records), ...forgotten.requests];
      removed = {
        ...{ gone: addressesOf(removal.pods), left: addressesOf(removal.left), hasChanged: requests.length > 0 },
        sharesWithOthers: removal.sharesWithOthers,
      };
      const needsGeneration = removal.needsGeneration || forgotten.needsGeneration;
      return { requests, generation: needsGeneration ? generation : undefined };
    },
  );
  return removed;
}

/** Of the owners' addresses those that no other pod has by now. */
function leavingOf({ pods }: SeenFirewall, isWanted: (owner: string) => boolean): Address[] {
  const left = pods.filter(({ owner }) => !isWanted(owner));
  return addressesOf(pods.filter(({ owner }) => isWanted(owner))).filter(
    (address) => !left.some((pod) => isSameAddress(pod.address, address)),
  );
}

/** Rules were not found by their handles, or the chain may go with them. */
function needsWhole({ foreign }: Seen, addresses: readonly Address[], { isLast }: Forgetting): boolean {
  const isPossible = (address: Address) =>
    foreign.chains.some((chain) => isPrivate(chain) && chain.family === privateChainOf(address.family).family);
  const isFound = (address: Address) => rulesOfAddress(foreign.rules, address).length === RULES_OF_AN_ADDRESS;
  return isLast || addresses.some((address) => isPossible(address) && !isFound(address));
}

const RULES_OF_AN_ADDRESS = 2;

function addressesOf(pods: readonly FirewallPod[]): Address[] {
  return pods.map(({ address }) => address);
}

/** What `findRules` sees of an attachment. */
export interface Found {
  /** Our table has something of the attachment: an ADD of weft made it. */
  readonly isOurs: boolean;
  /** What is missing, in words: of ours, or for an attachment that is not ours of the reference plugin's rules. */
  readonly missing: readonly string[];
}

/**
 * For CHECK. Rules in iptables' filter tables are missed where the attachment's ADD recorded them, or where the chain
 * drops: earlier versions of weft made none in tables that accept.
 */
export function findRules(system: System, wanted: Firewall, options: ForwardOptions): Found {
  const netfilter = openNetfilter(system);
  try {
    const scope: Scope = {
      adminChain: options.adminChain,
      addressesIn: () => addressesOf(wanted.pods),
      reads: "all",
    };
    const { own, foreign, records } = look(system, netfilter, scope);
    const isOurs = own.pods.some(({ owner }) => wanted.pods.some((pod) => pod.owner === owner));
    if (!isOurs) return { isOurs, missing: missingOfReference(foreign, wanted) };
    if (!holdsFirewall(own, wanted))
      return { isOurs, missing: ["the container's entries in table inet weft_firewall are not as ADD made them"] };
    const inFilter = records.length > 0 ? options.inFilter : "dropping";
    const requests = acceptForwarded(foreign, forwarded(wanted), { ...options, inFilter });
    return { isOurs, missing: requests.map(({ text }) => text) };
  } finally {
    netfilter.close();
  }
}

function missingOfReference(foreign: NftRuleset, wanted: Firewall): string[] {
  const isThere = (address: Address) => rulesOfAddress(foreign.rules, address).length === RULES_OF_AN_ADDRESS;
  return wanted.pods.every(({ address }) => isThere(address))
    ? []
    : [`neither table inet ${POD_TABLE.firewall} nor ${PRIVATE_CHAIN} has entries of the container`];
}

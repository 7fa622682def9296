/**
 * The attachment's rules: its entries in our own table, and its rules in other programs' forward chains, changed
 * together in one transaction.
 *
 * CNI-FORWARD in iptables' filter table has two rules for each address of the node. ADD and DEL do not read them: the
 * kernel echoes the handles of new rules, ADD records them with the pod's address in our table, and DEL requests only
 * the rules with these handles. If a handle is missing or belongs to another rule (iptables-restore gives every rule a
 * new handle), the whole chain is read.
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
import {
  changeOf,
  changeSeen,
  generationOf,
  generationRequest,
  lacksNetfilter,
  readGeneration,
  readHead,
  readRuleset,
} from "../../pkg/netlink/ruleset.ts";
import { chainRequest, type NftRuleset, readChains, readRules, ruleRequest, rulesDump } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import {
  addToFirewall,
  deleteRuleRecords,
  type Firewall,
  type FirewallPod,
  firewallDumps,
  holdsFirewall,
  type Removal,
  type RuleRecord,
  readFirewall,
  readRuleRecords,
  removeFromFirewall,
  ruleRecordRequests,
  type SeenFirewall,
} from "../../pkg/tables/firewall.ts";
import { addKeyed, type KeyedFirewall, lookByKey, removeKeyed } from "../../pkg/tables/firewall-keys.ts";

/** The state from which a change is planned. */
interface Seen<Own> {
  readonly generation: number | undefined;
  readonly own: Own;
  readonly foreign: NftRuleset;
  /** Bridges that the reference plugin isolates from each other. */
  readonly isolated: readonly string[];
  /** Records of the addresses of interest. */
  readonly records: readonly RuleRecord[];
}

interface Scope {
  readonly adminChain: string;
  /** Returns the addresses whose rules are of interest. */
  readonly addressesIn: (own: SeenFirewall) => readonly Address[];
  /**
   * What is read of CNI-FORWARD besides the recorded rules: all of it, only the rule that jumps to the administrator's
   * chain, or nothing.
   */
  readonly reads: "all" | "structure" | "nothing";
}

/** The number of rules at the head of CNI-FORWARD in which the jump to the administrator's chain is searched. */
const HEAD = 8;

/**
 * Reads only the elements of `keys` in our table. Undefined if the table is not intact or has policies, or if its pods at
 * these addresses are not as expected.
 */
function lookAtKeys(
  system: System,
  netfilter: BlockingNetlink,
  scope: Scope,
  keys: readonly Address[],
  isExpected: (pods: readonly FirewallPod[]) => boolean,
): Seen<KeyedFirewall> | undefined {
  const own = lookByKey(netfilter, keys, [generationRequest()]);
  if (own === undefined || !isExpected(own.pods)) return undefined;
  const { answers, records } = own;
  // Bridges that the reference plugin isolates only matter for policies.
  return withForeign(system, netfilter, scope, { generation: generationOf(answers), own, isolated: [], records });
}

function lookAtAll(system: System, netfilter: BlockingNetlink, scope: Scope): Seen<SeenFirewall> {
  const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
  const generation = readGeneration(netfilter);
  const own = readFirewall(read(firewallDumps()));
  const isolated = isolatedBridges(readRules(read(isolationDumps())));
  const records = readRuleRecords(read(ruleRecordRequests(scope.addressesIn(own))));
  return withForeign(system, netfilter, scope, { generation, own, isolated, records });
}

function withForeign<Own>(
  system: System,
  netfilter: BlockingNetlink,
  { adminChain, reads }: Scope,
  known: Omit<Seen<Own>, "foreign">,
): Seen<Own> {
  const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
  const { records } = known;
  const foreign = lookAtForwarding(read, { adminChain }, { isShallow: reads !== "all" });
  const seen = { ...known, foreign };
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

/** Returns each owner with all its addresses. */
function forwarded({ pods }: Firewall): ForwardedPod[] {
  const owners = [...new Set(pods.map(({ owner }) => owner))];
  return owners.map((owner) => ({
    owner,
    addresses: pods.filter((pod) => pod.owner === owner).map(({ address }) => address),
  }));
}

/**
 * Adds the rules. Can be repeated safely. `isolatedElsewhere` are bridges that the reference plugin isolates from each
 * other in tables that netlink does not reach.
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
    // Unless rules are added in any case, iptables' chains are read as far as necessary to know whether they drop.
    reads: options.inFilter === "always" ? "structure" : "all",
  };
  try {
    const addresses = addressesOf(wanted.pods);
    let records: readonly RuleRecord[] = [];
    let isFirst = wanted.policies.size === 0;
    const echoes = changeSeen(
      system,
      (netfilter) => {
        const keyed = isFirst
          ? lookAtKeys(system, netfilter, scope, addresses, (pods) => pods.length === 0)
          : undefined;
        isFirst = false;
        if (keyed !== undefined) return { ...keyed, entries: addKeyed(wanted.pods) };
        const seen = lookAtAll(system, netfilter, scope);
        return { ...seen, entries: addToFirewall(seen.own, wanted, [...seen.isolated, ...isolatedElsewhere]) };
      },
      ({ generation, records: held, foreign, entries }) => {
        records = held;
        const requests = [...entries, ...acceptForwarded(foreign, forwarded(wanted), options)];
        return changeOf(requests, generation, { deletesOthers: true });
      },
    );
    keepRecords(system, addresses, records, echoes);
  } catch (error) {
    throw new Error(`firewall: ${messageOf(error)}${adviceFor(error)}`, { cause: error });
  }
}

function adviceFor(error: unknown): string {
  if (lacksNetfilter(error)) return "; firewall needs a kernel with nf_tables";
  if (!isNetlinkError(error)) return "";
  // The table belongs to a program that lets no other program change it (NFT_TABLE_F_OWNER).
  if (error.code === "EPERM")
    return "; the owner of the table does not let other programs change it; configure that program to accept the traffic (firewalld: set backend to firewalld)";
  // The xtables extension that iptables' own rules use.
  if (error.code === "ENOENT" || error.code === "EOPNOTSUPP")
    return "; rules among those of iptables need a kernel with nft_compat and xt_conntrack";
  return "";
}

/** Addresses in the table before a removal: removed ones and remaining ones. */
export interface Removed {
  readonly gone: readonly Address[];
  readonly left: readonly Address[];
}

/** Selects the attachments whose rules are removed. */
export interface Leaving {
  readonly isWanted: (owner: string) => boolean;
  /** The addresses of the only attachment, according to its last result. */
  readonly addresses?: readonly Address[];
}

/** Succeeds if there is nothing to remove. */
export function removeRules(
  system: System,
  leaving: Leaving,
  { adminChain }: Pick<ForwardOptions, "adminChain">,
  isolatedElsewhere: readonly string[],
): Removed {
  const once = (isWhole: boolean) => removeOnce(system, leaving, adminChain, isolatedElsewhere, isWhole);
  try {
    const removal = once(false);
    // If two attachments are removed at once, each sees the other. A second read after the last change sees neither.
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
  { isWanted, addresses: keys = [] }: Leaving,
  adminChain: string,
  isolatedElsewhere: readonly string[],
  startsWhole: boolean,
): Removed & { readonly hasChanged: boolean; readonly sharesWithOthers: boolean } {
  let removed = { gone: [] as Address[], left: [] as Address[], hasChanged: false, sharesWithOthers: false };
  let isWhole = startsWhole;
  let isByKey = !startsWhole && keys.length > 0;
  const scopeOf = (): Scope => ({
    adminChain,
    addressesIn: (own) => leavingOf(own, isWanted),
    reads: isWhole ? "all" : "nothing",
  });
  const isAllWanted = (pods: readonly FirewallPod[]) =>
    pods.length === keys.length && pods.every(({ owner }) => isWanted(owner));
  const forgetting = <Own>(seen: Seen<Own>, addresses: readonly Address[], removal: Removal) => {
    const forgotten = forgetForwarded(seen.foreign, { isWanted, addresses }, { adminChain });
    return { ...seen, removal, forgotten, isEnough: isWhole || !needsWhole(seen, addresses, forgotten) };
  };
  const lookAndForget = (netfilter: BlockingNetlink) => {
    const keyed = isByKey ? lookAtKeys(system, netfilter, scopeOf(), keys, isAllWanted) : undefined;
    isByKey = false;
    if (keyed !== undefined) return forgetting(keyed, keys, removeKeyed(keyed.own.pods));
    const seen = lookAtAll(system, netfilter, scopeOf());
    const others = [...seen.isolated, ...isolatedElsewhere];
    return forgetting(seen, leavingOf(seen.own, isWanted), removeFromFirewall(seen.own, isWanted, others));
  };
  changeSeen(
    system,
    (netfilter) => {
      const seen = lookAndForget(netfilter);
      if (seen.isEnough) return seen;
      isWhole = true;
      return lookAndForget(netfilter);
    },
    ({ generation, records, removal, forgotten }) => {
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

/** Returns the owners' addresses that no other pod has now. */
function leavingOf({ pods }: SeenFirewall, isWanted: (owner: string) => boolean): Address[] {
  const left = pods.filter(({ owner }) => !isWanted(owner));
  return addressesOf(pods.filter(({ owner }) => isWanted(owner))).filter(
    (address) => !left.some((pod) => isSameAddress(pod.address, address)),
  );
}

/** True if rules were not found by their handles, or the chain may have to be removed, too. */
function needsWhole(
  { foreign }: Pick<Seen<unknown>, "foreign">,
  addresses: readonly Address[],
  { isLast }: Forgetting,
): boolean {
  const isPossible = (address: Address) =>
    foreign.chains.some((chain) => isPrivate(chain) && chain.family === privateChainOf(address.family).family);
  const isFound = (address: Address) => rulesOfAddress(foreign.rules, address).length === RULES_OF_AN_ADDRESS;
  return isLast || addresses.some((address) => isPossible(address) && !isFound(address));
}

const RULES_OF_AN_ADDRESS = 2;

function addressesOf(pods: readonly FirewallPod[]): Address[] {
  return pods.map(({ address }) => address);
}

/** The state of an attachment's rules. */
export interface Found {
  /** True if our table has an entry of the attachment, so an ADD of weft created it. */
  readonly isOurs: boolean;
  /** Descriptions of missing rules: ours, or the reference plugin's if the attachment is not ours. */
  readonly missing: readonly string[];
}

/**
 * For CHECK. Rules in iptables' filter tables are required if the attachment's ADD recorded them, or if the chain
 * drops: earlier versions of weft added none to tables that accept.
 */
export function findRules(system: System, wanted: Firewall, options: ForwardOptions): Found {
  const netfilter = openNetfilter(system);
  try {
    const scope: Scope = {
      adminChain: options.adminChain,
      addressesIn: () => addressesOf(wanted.pods),
      reads: "all",
    };
    const { own, foreign, records } = lookAtAll(system, netfilter, scope);
    const isOurs = own.pods.some(({ owner }) => wanted.pods.some((pod) => pod.owner === owner));
    if (!isOurs) return { isOurs, missing: missingOfReference(foreign, wanted) };
    if (!holdsFirewall(own, wanted))
      return { isOurs, missing: ["the container's entries in table inet weft_firewall differ from those of ADD"] };
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

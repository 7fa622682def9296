/**
 * The attachment's rules: its entries in our own table, and its place in other programs' forward chains, changed together
 * in one transaction.
 *
 * CNI-FORWARD in iptables' filter table holds two rules for each address of the node. ADD and DEL do not read them: the
 * kernel echoes the handles of new rules, ADD keeps them beside the pod's address in our table, and DEL asks for the
 * rules with these handles alone. Where a handle is missing or leads to another rule (iptables-restore gives every rule a
 * new one), all of the chain is read.
 */
import { messageOf } from "../../pkg/cni/errors.ts";
import { type Address, isSameAddress } from "../../pkg/ip/address.ts";
import { isolatedBridges } from "../../pkg/kernel/cni-forward.ts";
import {
  addToFirewall,
  type Firewall,
  type FirewallPod,
  firewallDumps,
  holdsFirewall,
  readFirewall,
  recordRules,
  removeFromFirewall,
  ruleHandlesOf,
  type SeenFirewall,
  withRuleHandles,
} from "../../pkg/kernel/firewall.ts";
import {
  acceptForwarded,
  type ForwardedPod,
  type ForwardOptions,
  forgetForwarded,
  isAbandoned,
  isolationDumps,
  lookAtForwarding,
  privateChainOf,
  rulesOfAddress,
} from "../../pkg/kernel/foreign-forward.ts";
import {
  chainRequest,
  type ForeignRule,
  type ForeignRuleset,
  readChains,
  readRules,
  ruleRequest,
  rulesDump,
} from "../../pkg/kernel/foreign-rules.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import type { Message, Request } from "../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readGeneration, readHead, readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";

/** What a change is planned from. */
interface Seen {
  readonly generation: number | undefined;
  readonly own: SeenFirewall;
  readonly foreign: ForeignRuleset;
  /** Bridges that the reference plugin closes to each other. */
  readonly isolated: readonly string[];
}

/** Of whose rules a shallow look reads those with recorded handles; a whole look reads all of CNI-FORWARD. */
type Depth = ((pod: FirewallPod) => boolean) | "whole";

function look(
  system: System,
  netfilter: BlockingNetlink,
  options: Pick<ForwardOptions, "adminChain">,
  depth: Depth,
): Seen {
  const read = (questions: readonly Request[]) => readRuleset(netfilter, questions);
  const generation = readGeneration(netfilter);
  const own = readFirewall(read(firewallDumps()));
  const foreign = lookAtForwarding(read, options, { isShallow: depth !== "whole" });
  const isolated = isolatedBridges(readRules(read(isolationDumps())));
  if (depth === "whole") return { generation, own, foreign, isolated };
  const recorded = own.pods.filter(depth).flatMap((pod) => {
    const place = privateChainOf(pod.address.family);
    return ruleHandlesOf(pod).map((handle) => ruleRequest(place, handle));
  });
  const families = new Set(foreign.tables.map(({ family }) => family));
  const heads = ([4, 6] as const).map(privateChainOf).filter(({ family }) => families.has(family));
  const rules = readRules([...heads.flatMap((place) => readHead(system, rulesDump(place))), ...read(recorded)]);
  return { generation, own, isolated, foreign: { ...foreign, rules: [...foreign.rules, ...distinct(rules)] } };
}

/** A recorded rule may be among the first, too. */
function distinct(rules: readonly ForeignRule[]): ForeignRule[] {
  return [...new Map(rules.map((rule) => [`${rule.family} ${rule.handle}`, rule])).values()];
}

/** Where firewalld's chains are left to firewalld, iptables' are read as far as it takes to know whether they drop. */
function addingDepth(wanted: Firewall, { always }: ForwardOptions): Depth {
  if (always !== true) return "whole";
  return ({ address }) => wanted.pods.some((pod) => isSameAddress(pod.address, address));
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
  try {
    let unrecorded: readonly FirewallPod[] = [];
    const echoes = changeSeen(
      system,
      (netfilter) => look(system, netfilter, options, addingDepth(wanted, options)),
      ({ own, foreign, isolated }) => {
        const pods = wanted.pods.map((pod) => withSeenRules(pod, foreign.rules));
        unrecorded = pods.filter(({ userdata }) => userdata === undefined);
        const entries = addToFirewall(own, { ...wanted, pods }, [...isolated, ...isolatedElsewhere]);
        return {
          requests: [...entries, ...acceptForwarded(foreign, forwarded(wanted), options)],
          generation: undefined,
        };
      },
    );
    record(system, unrecorded, echoes);
  } catch (error) {
    throw new Error(`firewall: ${messageOf(error)}${adviceFor(error)}`, { cause: error });
  }
}

/** With the handles of its rules, where both of them are among `rules`. */
function withSeenRules(pod: FirewallPod, rules: readonly ForeignRule[]): FirewallPod {
  const own = rulesOfAddress(rules, pod.address);
  const isWhole = own.length === RULES_OF_AN_ADDRESS;
  return isWhole
    ? withRuleHandles(
        pod,
        own.map(({ handle }) => handle),
      )
    : pod;
}

const RULES_OF_AN_ADDRESS = 2;

/** A record that fails costs the DEL a look at the whole chain, and nothing else. */
function record(system: System, pods: readonly FirewallPod[], echoes: readonly Message[]): void {
  const rules = readRules(echoes);
  const made = pods.map((pod) => withSeenRules(pod, rules)).filter(({ userdata }) => userdata !== undefined);
  if (made.length === 0) return;
  const netfilter = openNetfilter(system);
  try {
    netfilter.commit(recordRules(made));
  } catch (error) {
    if (!isNetlinkError(error)) throw error;
  } finally {
    netfilter.close();
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
  options: Pick<ForwardOptions, "adminChain">,
  isolatedElsewhere: readonly string[],
): Removed {
  const once = (depth: Depth) => removeOnce(system, isWanted, options, isolatedElsewhere, depth);
  try {
    const removal = once(({ owner }) => isWanted(owner));
    // Of two that leave at once each sees the other; a second look after the last change sees neither.
    if (removal.hasChanged && (removal.sharesWithOthers || hasAbandonedChain(system))) once("whole");
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
  options: Pick<ForwardOptions, "adminChain">,
  isolatedElsewhere: readonly string[],
  depth: Depth,
): Removed & { readonly hasChanged: boolean; readonly sharesWithOthers: boolean } {
  let removed = { gone: [] as Address[], left: [] as Address[], hasChanged: false, sharesWithOthers: false };
  let currentDepth = depth;
  const plan = ({ own, foreign, isolated }: Seen) => {
    const removal = removeFromFirewall(own, isWanted, [...isolated, ...isolatedElsewhere]);
    // An address that has gone over to another pod keeps its rules.
    const addresses = addressesOf(removal.pods).filter(
      (address) => !removal.left.some((pod) => isSameAddress(pod.address, address)),
    );
    return { removal, addresses, forgotten: forgetForwarded(foreign, { isWanted, addresses }, options) };
  };
  changeSeen(
    system,
    (netfilter) => {
      const seen = look(system, netfilter, options, currentDepth);
      if (currentDepth === "whole") return seen;
      const { removal, addresses, forgotten } = plan(seen);
      const isFound = addresses.every((address) => rulesOfAddress(seen.foreign.rules, address).length > 0);
      if (removal.pods.length === 0 || (isFound && !forgotten.isLast)) return seen;
      currentDepth = "whole";
      return look(system, netfilter, options, currentDepth);
    },
    (seen) => {
      const { removal, forgotten } = plan(seen);
      const requests = [...removal.requests, ...forgotten.requests];
      removed = {
        ...{ gone: addressesOf(removal.pods), left: addressesOf(removal.left), hasChanged: requests.length > 0 },
        sharesWithOthers: removal.sharesWithOthers,
      };
      const needsGeneration = removal.needsGeneration || forgotten.needsGeneration;
      return { requests, generation: needsGeneration ? seen.generation : undefined };
    },
  );
  return removed;
}

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
    const { own, foreign } = look(system, netfilter, options, "whole");
    const entries = own.pods.filter(({ owner }) => wanted.pods.some((pod) => pod.owner === owner));
    if (entries.length === 0) return { isOurs: false, missing: missingOfReference(foreign, wanted) };
    if (!holdsFirewall(own, wanted))
      return {
        isOurs: true,
        missing: ["the container's entries in table inet weft_firewall are not as ADD made them"],
      };
    const always = options.always === true && entries.some((pod) => ruleHandlesOf(pod).length > 0);
    const requests = acceptForwarded(foreign, forwarded(wanted), { ...options, always });
    return { isOurs: true, missing: requests.map(({ text }) => text) };
  } finally {
    netfilter.close();
  }
}

function missingOfReference(foreign: ForeignRuleset, wanted: Firewall): string[] {
  const isThere = (address: Address) => rulesOfAddress(foreign.rules, address).length === RULES_OF_AN_ADDRESS;
  return wanted.pods.every(({ address }) => isThere(address))
    ? []
    : ["neither table inet weft_firewall nor CNI-FORWARD has entries of the container"];
}

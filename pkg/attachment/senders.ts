/**
 * `guardSenders`: a pod can send only with its own addresses. ADD adds the port's elements before the host's end comes up, by one
 * transaction that reads nothing; DEL removes them by their keys.
 */
import type { ConfigObject } from "../cni/config.ts";
import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";
import type { Address } from "../ip/address.ts";
import { openNetfilter } from "../netlink/blocking.ts";
import { isNetlinkError } from "../netlink/errors.ts";
import type { Message, Query, Request } from "../netlink/message.ts";
import { changeRuleset, lacksNetfilter, readRuleset } from "../netlink/ruleset.ts";
import type { System } from "../sys/system.ts";
import {
  addSender,
  addSenderAddresses,
  addSenders,
  deleteSender,
  deleteSenders,
  senderQuestions,
  sendersDumps,
  sendersElementDumps,
  senderTest,
} from "../tables/senders.ts";
import { type GuardedSender, SENDERS_FAMILIES } from "../tables/senders-table.ts";
import { ownAddresses } from "./addresses.ts";
import type { NewPort } from "./before-up.ts";
import { wrong } from "./check.ts";
import type { OwnElements } from "./element-removal.ts";
import type { AttachContext } from "./interface-plugin.ts";
import { ipamType } from "./ipam.ts";
import { lastResult } from "./own-pod.ts";
import { lastPair } from "./own-port.ts";
import { ownerOf } from "./owner.ts";

export type GuardingPlugin = "bridge" | "ptp";

/** The attachment and its configuration. */
interface Attachment {
  readonly plugin: GuardingPlugin;
  readonly config: ConfigObject;
  readonly owner: string;
}

/**
 * Returns what an attachment with `guardSenders` may send, by table. A bridge's port may send nothing past the bridge: the
 * kernel passes frames to LLDP's and other reserved hardware addresses from the port directly to IP.
 */
export function guardedSenders(
  { plugin, config, owner }: Attachment,
  sender: Pick<GuardedSender, "port" | "addresses"> & { readonly mac: string },
): GuardedSender[] {
  if (plugin === "ptp") return [{ family: "inet", owner, ...sender, asksDhcp: false }];
  return [
    { family: "bridge", owner, ...sender, asksDhcp: ipamType(config) === "dhcp" },
    { family: "inet", owner, port: sender.port, mac: undefined, addresses: [], asksDhcp: false },
  ];
}

function sendersOf(request: CniRequest, plugin: GuardingPlugin, { veth, addresses = [] }: NewPort): GuardedSender[] {
  const attachment = { plugin, config: request.config, owner: ownerOf(request) };
  return guardedSenders(attachment, { port: veth.hostName, mac: veth.podMac, addresses });
}

/**
 * Runs before the host's end comes up (`BeforeUp`). A pod whose addresses are not known yet may send only ARP probes,
 * neighbour discovery and requests for an address. Throws `CniError` 2 if the kernel does not support nf_tables.
 */
export function guardSender(plugin: GuardingPlugin, { request, undo }: AttachContext, port: NewPort): void {
  const senders = sendersOf(request, plugin, port);
  undo.push(() => removeEach(request.system, senders));
  commitOrPlan(request.system, senders.flatMap(addSender), senders);
}

/** Adds the addresses that a guarded port got after it came up. */
export function guardAddresses(
  plugin: GuardingPlugin,
  { request }: Pick<AttachContext, "request">,
  { veth }: Pick<NewPort, "veth">,
  addresses: readonly Address[],
): void {
  const senders = sendersOf(request, plugin, { veth, addresses });
  commitOrPlan(
    request.system,
    senders.flatMap((sender) => addSenderAddresses(sender)),
    senders,
  );
}

/** Commits `requests`. If the kernel refuses, reads the tables and adds everything of `senders`. */
function commitOrPlan(system: System, requests: readonly Request[], senders: readonly GuardedSender[]): void {
  try {
    if (commitsAtOnce(system, requests)) return;
    const dumps = senders.flatMap(({ family }) => sendersDumps(family));
    changeRuleset(system, dumps, (dumped) => senders.flatMap((sender) => addSenders(sender.family, dumped, [sender])));
  } catch (error) {
    if (!lacksNetfilter(error) && !isNetlinkError(error, "EOPNOTSUPP", "EAFNOSUPPORT", "ENOENT")) throw error;
    throw new CniError(
      ErrorCode.unsupportedField,
      `guardSenders: cannot guard ${senders[0]?.port}: ${messageOf(error)}; it needs a kernel with nf_tables, for bridges ` +
        "also CONFIG_NF_TABLES_BRIDGE",
      { cause: error },
    );
  }
}

/** False if the kernel refuses because the table is not as expected: an object is missing, or exists already. */
function commitsAtOnce(system: System, requests: readonly Request[]): boolean {
  const netfilter = openNetfilter(system);
  try {
    netfilter.commit(requests);
    return true;
  } catch (error) {
    if (!isNetlinkError(error, "ENOENT", "EEXIST", "EINVAL")) throw error;
    return false;
  } finally {
    netfilter.close();
  }
}

/** Removes elements by their keys, or by the owner's mark if they are not as expected. */
function removeEach(system: System, senders: readonly GuardedSender[]): void {
  try {
    if (commitsAtOnce(system, senders.flatMap(deleteSender))) return;
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    return;
  }
  removeSenders(system, (mark) => senders.some(({ owner }) => owner === mark));
}

/** The elements that ADD made for the attachment's port, for DEL. No other port has its name. */
export function ownSender(request: CniRequest, plugin: GuardingPlugin): OwnElements {
  const owner = ownerOf(request);
  return {
    questions: [],
    remove: () => lastSenders(request, plugin)?.flatMap(deleteSender),
    dumps: SENDERS_FAMILIES.flatMap(sendersElementDumps),
    removeMarked: (dumped) => markedSenders(dumped, (mark) => mark === owner),
  };
}

/** Removes the elements of all attachments that `isWanted` selects. Succeeds if there are none. */
export function removeSenders(system: System, isWanted: (mark: string) => boolean): void {
  try {
    changeRuleset(system, SENDERS_FAMILIES.flatMap(sendersElementDumps), (dumped) => markedSenders(dumped, isWanted));
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
}

function markedSenders(dumped: readonly Message[], isWanted: (mark: string) => boolean): Request[] {
  return SENDERS_FAMILIES.flatMap((family) => deleteSenders(family, dumped, isWanted));
}

/** Throws `CniError` if the attachment's port is not guarded. Reads only the rules and the port's own elements. */
export function checkSender(request: CniRequest, plugin: GuardingPlugin): void {
  const senders = lastSenders(request, plugin);
  if (senders === undefined)
    throw wrong("prevResult does not have the two ends of the veth pair, with their addresses");
  const isHeld = senderTest(read(request.system, senders.flatMap(senderQuestions)));
  const lacking = senders.find((sender) => !isHeld(sender));
  if (lacking === undefined) return;
  throw wrong(
    `packets of ${lacking.port} are not restricted to the pod's own addresses (table ${lacking.family} weft-senders)`,
  );
}

function read(system: System, questions: readonly Query[]): readonly Message[] {
  const netfilter = openNetfilter(system);
  try {
    return readRuleset(netfilter, questions);
  } finally {
    netfilter.close();
  }
}

/** Returns the senders of the last result. */
function lastSenders(request: CniRequest, plugin: GuardingPlugin): GuardedSender[] | undefined {
  const { ifName, config } = request;
  const result = lastResult(request);
  const { host, pod } = lastPair(request) ?? {};
  if (result === undefined || host === undefined || !pod?.mac) return undefined;
  const addresses = ownAddresses(result, ifName).map(({ address }) => address.address);
  const attachment = { plugin, config, owner: ownerOf(request) };
  return guardedSenders(attachment, { port: host.name, mac: pod.mac.toLowerCase(), addresses });
}

/**
 * `guardSenders`: a pod may send only as itself. ADD adds the port's elements before the host's end comes up, by one
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
import { type GuardedSender, SENDERS_FAMILIES, type SendersFamily } from "../tables/senders-table.ts";
import { ownAddresses } from "./addresses.ts";
import type { NewPort } from "./before-up.ts";
import { wrong } from "./check.ts";
import type { AttachContext } from "./interface-plugin.ts";
import { ipamType } from "./ipam.ts";
import { ownerOf } from "./owner.ts";

/** The plugins with `guardSenders`, and the families of their tables. */
const FAMILY = { bridge: "bridge", ptp: "inet" } as const satisfies Readonly<Record<string, SendersFamily>>;
export type GuardingPlugin = keyof typeof FAMILY;

/** The attachment and its configuration. */
interface Attachment {
  readonly plugin: GuardingPlugin;
  readonly config: ConfigObject;
  readonly owner: string;
}

/** Returns what an attachment with `guardSenders` may send. */
export function guardedSender(
  { plugin, config, owner }: Attachment,
  sender: Pick<GuardedSender, "port" | "mac" | "addresses">,
): GuardedSender {
  return { family: FAMILY[plugin], owner, ...sender, asksDhcp: ipamType(config) === "dhcp" };
}

function senderOf(request: CniRequest, plugin: GuardingPlugin, { veth, addresses = [] }: NewPort): GuardedSender {
  const attachment = { plugin, config: request.config, owner: ownerOf(request) };
  return guardedSender(attachment, { port: veth.hostName, mac: veth.podMac, addresses });
}

/**
 * Runs before the host's end comes up (`BeforeUp`). A pod whose addresses are not known yet may send only ARP probes,
 * neighbour discovery and requests for an address. Throws `CniError` 2 if the kernel does not support nf_tables.
 */
export function guardSender(plugin: GuardingPlugin, { request, undo }: AttachContext, port: NewPort): void {
  const sender = senderOf(request, plugin, port);
  undo.push(() => removeSender(request.system, sender));
  commitOrPlan(request.system, sender, addSender(sender), sender);
}

/** Adds the addresses that a guarded port got after it came up. */
export function guardAddresses(
  plugin: GuardingPlugin,
  { request }: Pick<AttachContext, "request">,
  { veth }: Pick<NewPort, "veth">,
  addresses: readonly Address[],
): void {
  const sender = senderOf(request, plugin, { veth, addresses: [] });
  commitOrPlan(request.system, sender, addSenderAddresses(sender, addresses), { ...sender, addresses });
}

/** Commits `requests`. If the kernel refuses, reads the table and adds everything of `whole`. */
function commitOrPlan(
  system: System,
  { family, port }: GuardedSender,
  requests: readonly Request[],
  whole: GuardedSender,
): void {
  try {
    if (commitsAtOnce(system, requests)) return;
    changeRuleset(system, sendersDumps(family), (dumped) => addSenders(family, dumped, [whole]));
  } catch (error) {
    if (!lacksNetfilter(error) && !isNetlinkError(error, "EOPNOTSUPP", "EAFNOSUPPORT", "ENOENT")) throw error;
    throw new CniError(
      ErrorCode.unsupportedField,
      `guardSenders: cannot guard ${port}: ${messageOf(error)}; it needs a kernel with nf_tables` +
        `${family === "bridge" ? " for bridges (CONFIG_NF_TABLES_BRIDGE)" : ""}`,
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

/** Removes a port's elements by their keys, or by the owner's mark if they are not as expected. */
function removeSender(system: System, sender: GuardedSender): void {
  try {
    if (commitsAtOnce(system, deleteSender(sender))) return;
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    return;
  }
  removeSenders(system, [sender.family], (mark) => mark === sender.owner);
}

/** Removes the elements of an attachment at DEL. Succeeds if there are none. */
export function removeOwnSender(request: CniRequest, plugin: GuardingPlugin): void {
  const sender = previousSender(request, plugin);
  if (sender !== undefined) removeSender(request.system, sender);
  else removeSenders(request.system, [FAMILY[plugin]], (mark) => mark === ownerOf(request));
}

/** Removes the elements of all attachments that `isWanted` selects. Succeeds if there are none. */
export function removeSenders(
  system: System,
  families: readonly SendersFamily[] = SENDERS_FAMILIES,
  isWanted: (mark: string) => boolean,
): void {
  try {
    for (const family of families)
      changeRuleset(system, sendersElementDumps(family), (dumped) => deleteSenders(family, dumped, isWanted));
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
  }
}

/** Throws `CniError` if the attachment's port is not guarded. Reads only the rules and the port's own elements. */
export function checkSender(request: CniRequest, plugin: GuardingPlugin): void {
  const sender = previousSender(request, plugin);
  if (sender === undefined) throw wrong("prevResult does not have the two ends of the veth pair, with their addresses");
  if (senderTest(read(request.system, senderQuestions(sender)))(sender)) return;
  throw wrong(
    `packets of ${sender.port} are not restricted to the pod's own addresses (table ${sender.family} weft-senders)`,
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

/** Reads the sender from `prevResult`: in the results of bridge and ptp, the pod's end follows the host's end. */
function previousSender(request: CniRequest, plugin: GuardingPlugin): GuardedSender | undefined {
  const { prevResult: previous, ifName, config } = request;
  const at = previous?.interfaces.findIndex(({ name, sandbox }) => name === ifName && Boolean(sandbox)) ?? -1;
  const [host, pod] = [previous?.interfaces[at - 1], previous?.interfaces[at]];
  if (previous === undefined || host === undefined || !pod?.mac) return undefined;
  const addresses = ownAddresses(previous, ifName).map(({ address }) => address.address);
  const attachment = { plugin, config, owner: ownerOf(request) };
  return guardedSender(attachment, { port: host.name, mac: pod.mac.toLowerCase(), addresses });
}

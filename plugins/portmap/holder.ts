/**
 * Decides whether an attachment that has a port is gone without a DEL. It is gone if no link of the node has its mark,
 * the runtime has no cached result of it (macvlan, VM and dhcp pods may show no link and no address), and its addresses
 * do not answer on the node's links. If any of this is unknown, the attachment counts as present. Runs only if a port
 * is taken, since it may take seconds.
 */

import { cachedNetns, cachedResultName } from "../../pkg/cni/cached-result.ts";
import { CACHE_DIRECTORIES, MARK_START } from "../../pkg/footprint.ts";
import { type Address, addressBits } from "../../pkg/ip/address.ts";
import { type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import {
  forwardingDump,
  getNeighbour,
  type NeighbourState,
  parseBridgeEntry,
  parseNeighbourState,
  probeNeighbour,
} from "../../pkg/kernel/neighbour.ts";
import { parseOwner } from "../../pkg/kernel/owner.ts";
import { getRoute, type ObservedRoute, parseRoute } from "../../pkg/kernel/route.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { isGone, isNetlinkError } from "../../pkg/netlink/errors.ts";
import {
  NUD_DELAY,
  NUD_FAILED,
  NUD_INCOMPLETE,
  NUD_PROBE,
  NUD_REACHABLE,
  NUD_STALE,
} from "../../pkg/netlink/neighbour.ts";
import { RTN_LOCAL, RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";
import type { PortHolder } from "../../pkg/tables/port-map.ts";

/** The kernel gives up after three seconds by default. */
const PROBE_ATTEMPTS = 200;
const PROBE_PAUSE_MS = 50;

/**
 * The time until a runtime caches a result: it does so once the last plugin of the chain has ended, shortly after this
 * one.
 */
const CHAIN_PATIENCE_MS = 2000;

/** Checks each holder once. */
export function goneHolders(system: System): (holder: PortHolder) => boolean {
  const verdicts = new Map<string, boolean>();
  return (holder) => {
    const verdict = verdicts.get(holder.owner) ?? isHolderGone(system, holder);
    verdicts.set(holder.owner, verdict);
    return verdict;
  };
}

function isHolderGone(system: System, { owner, targets }: PortHolder): boolean {
  try {
    const host = openRoute(system);
    try {
      return !isKnown(system, host, owner) && !targets.some((address) => isInUse(system, host, owner, address));
    } finally {
      host.close();
    }
  } catch (error) {
    if (isNetlinkError(error) || isSystemError(error)) return false;
    throw error;
  }
}

/** True if the runtime has its result, or a link has its mark: now, or a moment later. */
function isKnown(system: System, host: BlockingNetlink, owner: string): boolean {
  const isSeen = () => isRemembered(system, owner) || readLinks(host).some(({ alias }) => alias === owner);
  if (isSeen()) return true;
  system.sleep(CHAIN_PATIENCE_MS);
  return isSeen();
}

function readLinks(host: BlockingNetlink): Link[] {
  return host.dump(linkDump()).map(parseLink);
}

/** A result whose namespace no longer exists was left by a runtime that was killed. */
function isRemembered(system: System, owner: string): boolean {
  const attachment = parseOwner(owner);
  // The name of its file is not known.
  if (attachment === undefined) return true;
  const name = cachedResultName(attachment.network, attachment.containerId, attachment.ifName);
  return CACHE_DIRECTORIES.map((directory) => `${directory}/${name}`)
    .filter((path) => system.status(path) !== undefined)
    .some((path) => {
      const netns = cachedNetns(system, path);
      return netns === undefined || system.status(netns) !== undefined;
    });
}

/** True unless nothing on this node has the address, or another attachment has it. */
function isInUse(system: System, host: BlockingNetlink, owner: string, address: Address): boolean {
  const route = findRoute(host, address);
  if (route === undefined) return false;
  if (route.type === RTN_LOCAL || route.isMultipath) return true;
  const links = readLinks(host);
  const link = links.find(({ index }) => index === route.outputIndex);
  if (route.type !== RTN_UNICAST || link === undefined) return false;
  if (route.destination.length === addressBits(address.family)) return !isOfOther(link, owner);
  // Through a gateway, the address belongs to another machine.
  if (route.gateway !== undefined) return false;
  const answer = ask(system, host, link.index, address);
  return answer !== undefined && !isOfOther(behind(host, links, link, answer) ?? link, owner);
}

function findRoute(host: BlockingNetlink, address: Address): ObservedRoute | undefined {
  const [reply] = host.exchange([getRoute(address, { isEntry: true })]);
  if (isNetlinkError(reply?.error, "ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL")) return undefined;
  if (reply?.error !== undefined) throw reply.error;
  return reply?.messages.flatMap((message) => parseRoute(message) ?? [])[0];
}

/** Addresses are reused, so a later attachment may have the address now. */
function isOfOther({ alias }: Link, owner: string): boolean {
  return alias.startsWith(MARK_START) && alias !== owner;
}

/** Returns the port of the bridge on which the answer arrived. */
function behind(
  host: BlockingNetlink,
  links: readonly Link[],
  bridge: Link,
  { mac }: NeighbourState,
): Link | undefined {
  const entry = host
    .dump(forwardingDump())
    .flatMap((message) => parseBridgeEntry(message) ?? [])
    .find((each) => each.master === bridge.index && each.index !== bridge.index && each.mac === mac);
  return links.find(({ index }) => index === entry?.index);
}

/** Returns the entry of the address's holder, or of one that cannot be probed. Undefined if there is no answer. */
function ask(system: System, host: BlockingNetlink, index: number, address: Address): NeighbourState | undefined {
  const known = readState(host, index, address);
  const hasMac = known !== undefined && (known.state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE)) !== 0;
  if (known !== undefined && !hasMac && (known.state & (NUD_FAILED | NUD_INCOMPLETE)) === 0) return known;
  const [refusal] = host.exchange([probeNeighbour(index, address, hasMac)]);
  if (refusal?.error !== undefined && !isGone(refusal.error)) throw refusal.error;
  for (let attempt = 0; attempt < PROBE_ATTEMPTS; attempt++) {
    const seen = readState(host, index, address);
    if (seen === undefined || (seen.state & NUD_FAILED) !== 0) return undefined;
    if ((seen.state & (NUD_INCOMPLETE | NUD_PROBE)) === 0) return seen;
    system.sleep(PROBE_PAUSE_MS);
  }
  return known ?? { state: NUD_INCOMPLETE, mac: undefined };
}

function readState(host: BlockingNetlink, index: number, address: Address): NeighbourState | undefined {
  const [reply] = host.exchange([getNeighbour(index, address)]);
  if (isGone(reply?.error)) return undefined;
  if (reply?.error !== undefined) throw reply.error;
  return reply?.messages.map(parseNeighbourState)[0];
}

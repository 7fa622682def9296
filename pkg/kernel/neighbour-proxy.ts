/**
 * Neighbour proxies: addresses that the kernel answers for on a link although their hosts are behind another link. IPv4
 * needs only a setting of the link: the kernel answers for every address that it routes to another link. IPv6 also
 * needs an entry for each address. Pure functions.
 */
import { RTPROT_WEFT, SETTING_PROXY, SETTING_PROXY_DELAY } from "../footprint.ts";
import { type Address, addressFromBytes, addressToBytes, type Family, formatAddress } from "../ip/address.ts";
import { AF_INET, AF_INET6 } from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  type Message,
  NLM_F_CREATE,
  type ObjectIdentity,
  type Query,
  type Request,
  request,
} from "../netlink/message.ts";
import { NTF_PROXY, RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from "../netlink/neighbour.ts";
import { addressFamily } from "./address.ts";
import type { SysctlName } from "./sysctl.ts";

export interface NeighbourProxy {
  readonly index: number;
  readonly address: Address;
}

export type ObservedProxy = NeighbourProxy & {
  /** RTPROT_* of the program that added it. */
  readonly protocol: number | undefined;
};

export interface ProxySetting {
  readonly name: SysctlName;
  readonly value: string;
  /**
   * The corresponding setting for new links. A network namespace may lack it; the kernel's own value is then `initial`.
   */
  readonly default: SysctlName;
  readonly initial: string;
}

const FOLDERS = { 4: "ipv4", 6: "ipv6" } as const;

/**
 * The settings that make the kernel answer on the link `name` without delay. By default it waits up to 0.8 s, to give
 * another host the chance to answer first.
 */
export function proxySettings(name: string, family: Family): readonly ProxySetting[] {
  const folder = FOLDERS[family];
  const setting = (kind: string, key: string, value: string, initial: string): ProxySetting => ({
    name: ["net", folder, kind, name, key],
    ...{ value, initial, default: ["net", folder, kind, "default", key] },
  });
  // In hundredths of a second.
  return [setting("neigh", SETTING_PROXY_DELAY, "0", "80"), setting("conf", SETTING_PROXY[family], "1", "0")];
}

/** Dumps the proxy entries of all links. */
export function proxyDump(family: Family): Query {
  const header = { family: addressFamily(family), flags: NTF_PROXY };
  return dumpRequest(RTM_GETNEIGH, `ip -${family} neigh show proxy`, header, {});
}

/** Parses RTM_NEWNEIGH. Returns `undefined` unless the message is an IP proxy entry of one link. */
export function parseProxy(message: Message): ObservedProxy | undefined {
  const { header, attributes } = decode(RTM_NEWNEIGH, message);
  if (header.family !== AF_INET && header.family !== AF_INET6) return undefined;
  if ((header.flags & NTF_PROXY) === 0 || header.index === 0 || attributes.destination === undefined) return undefined;
  return {
    index: header.index,
    address: addressFromBytes(attributes.destination),
    protocol: attributes.protocol,
  };
}

/**
 * Plans the entries that make the kernel answer on the link `index` for `addresses`. Removes weft's entries for other
 * addresses.
 */
export function planProxies(index: number, addresses: readonly Address[], held: readonly ObservedProxy[]): Request[] {
  const here = held.filter((entry) => entry.index === index);
  const heldTexts = new Set(here.map(({ address }) => formatAddress(address)));
  const wantedTexts = new Set(addresses.map(formatAddress));
  const isStale = ({ address, protocol }: ObservedProxy) =>
    protocol === RTPROT_WEFT && !wantedTexts.has(formatAddress(address));
  return [
    ...addresses
      .filter((address) => !heldTexts.has(formatAddress(address)))
      .map((address) => addProxy({ index, address })),
    ...here.filter(isStale).map(deleteProxy),
  ];
}

/** The key differs from that of neighbours, because the kernel stores proxy entries in a separate table. */
function proxyObject({ index, address }: NeighbourProxy): ObjectIdentity {
  return { kind: "neighbour", key: `proxy index ${index} ${formatAddress(address)}` };
}

function addProxy(entry: NeighbourProxy): Request {
  const { index, address } = entry;
  return request(
    RTM_NEWNEIGH,
    () => proxyObject(entry),
    `ip neigh add proxy ${formatAddress(address)} dev index ${index} protocol ${RTPROT_WEFT}`,
    { family: addressFamily(address.family), index, flags: NTF_PROXY },
    { destination: addressToBytes(address), protocol: RTPROT_WEFT },
    NLM_F_CREATE,
  );
}

function deleteProxy(entry: NeighbourProxy): Request {
  const { index, address } = entry;
  return request(
    RTM_DELNEIGH,
    () => proxyObject(entry),
    `ip neigh del proxy ${formatAddress(address)} dev index ${index}`,
    { family: addressFamily(address.family), index, flags: NTF_PROXY },
    { destination: addressToBytes(address) },
  );
}

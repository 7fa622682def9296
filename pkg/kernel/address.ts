/**
 * Addresses on links: parses the addresses that the kernel reports, and makes the requests that add and remove them.
 */
import { addressFromBytes, addressToBytes, type Family } from "../ip/address.ts";
import { formatPrefix, type Prefix } from "../ip/prefix.ts";
import {
  IFA_F_DADFAILED,
  IFA_F_NODAD,
  IFA_F_NOPREFIXROUTE,
  IFA_F_TENTATIVE,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from "../netlink/address.ts";
import { AF_INET, AF_INET6 } from "../netlink/link.ts";
import {
  decode,
  dumpRequest,
  type Message,
  NLM_F_CREATE,
  NLM_F_EXCL,
  type ObjectIdentity,
  type Query,
  type Request,
  request,
} from "../netlink/message.ts";
import { RT_SCOPE } from "../netlink/route.ts";

/** An address with its prefix length, on a link. */
export interface LinkAddress {
  readonly index: number;
  /** Keeps the host bits, because they are part of the address. */
  readonly prefix: Prefix;
  /** RT_SCOPE: 0 universe, 253 link, 254 host. */
  readonly scope: number;
  readonly isTentative: boolean;
  readonly isDuplicate: boolean;
}

/** AF_INET or AF_INET6. */
export function addressFamily(family: Family): number {
  return family === 4 ? AF_INET : AF_INET6;
}

/** Reads RTM_NEWADDR or RTM_DELADDR; `undefined` for families that are not IP. */
export function parseLinkAddress(message: Message): LinkAddress | undefined {
  const { header, attributes } = decode(RTM_NEWADDR, message);
  if (header.family !== AF_INET && header.family !== AF_INET6) return undefined;
  // On point-to-point links IFA_ADDRESS is the peer's; if IFA_LOCAL is present, it is always the link's own.
  const bytes = attributes.local ?? attributes.address;
  if (bytes === undefined) return undefined;
  const flags = attributes.flags ?? header.flags;
  return {
    index: header.index,
    prefix: { address: addressFromBytes(bytes), length: header.prefixLength },
    scope: header.scope,
    isTentative: (flags & IFA_F_TENTATIVE) !== 0,
    isDuplicate: (flags & IFA_F_DADFAILED) !== 0,
  };
}

/**
 * Dumps the addresses of the namespace, optionally of one family or one link only. Sockets without strict checking
 * (NETLINK_GET_STRICT_CHK) answer for all links: filter the result by `index`.
 */
export function addressDump(family?: Family, index = 0): Query {
  const of = family === undefined ? "" : `-${family} `;
  const on = index === 0 ? "" : ` dev index ${index}`;
  return dumpRequest(
    RTM_GETADDR,
    `ip ${of}address show${on}`,
    { family: family === undefined ? 0 : addressFamily(family), index },
    {},
  );
}

/** Identifies an address as the kernel does: by link, address and prefix length. */
export function addressObject({ index, prefix }: Pick<LinkAddress, "index" | "prefix">): ObjectIdentity {
  return { kind: "address", key: `index ${index} ${formatPrefix(prefix)}` };
}

export interface AddressSettings {
  readonly index: number;
  readonly prefix: Prefix;
  /** Use the address at once, without duplicate address detection (IPv6 only; IPv4 has none in the kernel). */
  readonly skipDetection?: boolean;
  /** Do not let the kernel add the connected route; the caller adds it if necessary. */
  readonly withoutPrefixRoute?: boolean;
}

/**
 * Adds an address. Fails with EEXIST if the link already has it. An IPv4 address gets the broadcast address that `ip`
 * computes for `brd +`.
 */
export function addAddress(settings: AddressSettings): Request {
  const { prefix, index } = settings;
  const { family } = prefix.address;
  const bytes = addressToBytes(prefix.address);
  let flags = 0;
  if (family === 6 && settings.skipDetection === true) flags |= IFA_F_NODAD;
  if (settings.withoutPrefixRoute === true) flags |= IFA_F_NOPREFIXROUTE;
  return request(
    RTM_NEWADDR,
    () => addressObject(settings),
    () => `ip address add ${formatPrefix(prefix)} dev index ${index}`,
    { family: addressFamily(family), prefixLength: prefix.length, index, scope: RT_SCOPE.universe },
    {
      address: bytes,
      local: bytes,
      broadcast: family === 4 && prefix.length < 31 ? broadcastOf(prefix) : undefined,
      flags: flags === 0 ? undefined : flags,
    },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

function broadcastOf(prefix: Prefix): Uint8Array {
  const hostBits = (1n << BigInt(32 - prefix.length)) - 1n;
  return addressToBytes({ family: 4, value: prefix.address.value | hostBits });
}

/** Deletes an address. Fails with EADDRNOTAVAIL if the link does not have it. */
export function deleteAddress(index: number, prefix: Prefix): Request {
  const bytes = addressToBytes(prefix.address);
  return request(
    RTM_DELADDR,
    () => addressObject({ index, prefix }),
    () => `ip address del ${formatPrefix(prefix)} dev index ${index}`,
    { family: addressFamily(prefix.address.family), prefixLength: prefix.length, index },
    { address: bytes, local: bytes },
  );
}

/**
 * An rtnetlink in memory, for unit tests. It decodes the encoded messages, stores links, addresses, routes, neighbours
 * and forwarding entries by the kernel's keys, and answers with the kernel's errno. Removing a link also removes its
 * addresses, routes and neighbours, as in the kernel.
 *
 * It implements only what the data path needs: one next hop per route, no namespaces, no nftables.
 */

import { RTM_DELADDR, RTM_GETADDR, RTM_NEWADDR } from "../netlink/address.ts";
import { ByteWriter } from "../netlink/bytes.ts";
import { attributes, i32, struct, u64 } from "../netlink/codec.ts";
import { AF_BRIDGE, AF_INET6, IFF_UP, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK } from "../netlink/link.ts";
import {
  decode,
  type Encodable,
  type Message,
  type MessageType,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_MULTI,
  NLM_F_REPLACE,
  NLMSG_DONE,
  NLMSG_ERROR,
  query,
  splitDatagram,
  writeRequest,
} from "../netlink/message.ts";
import { RTM_DELNEIGH, RTM_GETNEIGH, RTM_NEWNEIGH } from "../netlink/neighbour.ts";
import { RTM_DELROUTE, RTM_GETROUTE, RTM_NEWROUTE } from "../netlink/route.ts";

const ENOENT = 2;
const ESRCH = 3;
const EEXIST = 17;
const ENODEV = 19;
const EADDRNOTAVAIL = 99;
const ENETDOWN = 100;
const DEFAULT_METRIC6 = 1024;

type Decoded<T> = T extends MessageType<infer H, infer A> ? { readonly header: H; readonly attributes: A } : never;
type LinkMessage = Decoded<typeof RTM_NEWLINK>;
type AddressMessage = Decoded<typeof RTM_NEWADDR>;
type RouteMessage = Decoded<typeof RTM_NEWROUTE>;
type NeighbourMessage = Decoded<typeof RTM_NEWNEIGH>;

/** The kernel's refusal of a request. */
class Refusal extends Error {
  readonly errno: number;
  constructor(errno: number) {
    super(`errno ${errno}`);
    this.errno = errno;
  }
}

const hex = (bytes: Uint8Array | undefined) => Array.from(bytes ?? [], (byte) => byte.toString(16)).join(".");

export class FakeKernel {
  /** The number of requests that changed, or tried to change, something. */
  changes = 0;
  /** Makes single requests fail: returns the errno for the message, or 0. */
  refuse: (message: Message) => number = () => 0;
  readonly #links = new Map<number, LinkMessage>();
  readonly #addresses = new Map<string, AddressMessage>();
  readonly #routes = new Map<string, RouteMessage>();
  readonly #neighbours = new Map<string, NeighbourMessage>();
  #nextIndex = 2;

  /** Returns the answers to one sent datagram; usable as a `NetlinkScript`. */
  readonly answer = (datagram: Uint8Array): Uint8Array[] =>
    splitDatagram(datagram).map((message) => this.#serve(message));

  /** Applies changes as another program would. Throws if one is refused. */
  do(...requests: readonly Encodable[]): void {
    for (const item of requests) {
      const writer = new ByteWriter();
      writeRequest(writer, item, 1, 0);
      for (const message of splitDatagram(writer.finish())) this.#change(message);
    }
  }

  #serve(message: Message): Uint8Array {
    try {
      if ((message.flags & NLM_F_DUMP) === NLM_F_DUMP) return answerWith(message, this.#dump(message), NLMSG_DONE, 0);
      if (message.type === RTM_GETLINK.type) {
        const { header, attributes } = decode(RTM_GETLINK, message);
        return answerWith(message, [linkRequest(this.#find(header.index, attributes.ifname))], NLMSG_ERROR, 0);
      }
      this.changes += 1;
      const errno = this.refuse(message);
      if (errno !== 0) throw new Refusal(errno);
      this.#change(message);
      return answerWith(message, [], NLMSG_ERROR, 0);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return answerWith(message, [], NLMSG_ERROR, error.errno);
    }
  }

  #dump(message: Message): Encodable[] {
    switch (message.type) {
      case RTM_GETLINK.type:
        return [...this.#links.values()].map(linkRequest);
      case RTM_GETADDR.type:
        return [...this.#addresses.values()].map((held) => query(RTM_NEWADDR, "", held.header, held.attributes));
      case RTM_GETROUTE.type: {
        const { family } = decode(RTM_GETROUTE, message).header;
        const held = [...this.#routes.values()].filter(({ header }) => header.family === family);
        return held.map(({ header, attributes }) => query(RTM_NEWROUTE, "", header, attributes));
      }
      case RTM_GETNEIGH.type: {
        const { family } = decode(RTM_GETNEIGH, message).header;
        const held = [...this.#neighbours.values()].filter(({ header }) => header.family === family);
        return held.map(({ header, attributes }) => query(RTM_NEWNEIGH, "", header, attributes));
      }
      default:
        throw new Error(`the fake kernel has no dump of type ${message.type}`);
    }
  }

  readonly #handlers: Readonly<Record<number, (message: Message) => void>> = {
    [RTM_NEWLINK.type]: (message) => this.#setLink(decode(RTM_NEWLINK, message), message.flags),
    [RTM_DELLINK.type]: (message) => this.#removeLink(decode(RTM_DELLINK, message)),
    [RTM_NEWADDR.type]: (message) => {
      const held = decode(RTM_NEWADDR, message);
      put(this.#addresses, addressKey(held), held, message.flags);
    },
    [RTM_DELADDR.type]: (message) => {
      take(this.#addresses, addressKey(decode(RTM_DELADDR, message)), EADDRNOTAVAIL);
    },
    [RTM_NEWROUTE.type]: (message) => this.#setRoute(decode(RTM_NEWROUTE, message), message.flags),
    [RTM_DELROUTE.type]: (message) => this.#removeRoute(decode(RTM_DELROUTE, message)),
    [RTM_NEWNEIGH.type]: (message) => {
      const held = decode(RTM_NEWNEIGH, message);
      put(this.#neighbours, neighbourKey(held), held, message.flags);
    },
    [RTM_DELNEIGH.type]: (message) => {
      take(this.#neighbours, neighbourKey(decode(RTM_DELNEIGH, message)), ENOENT);
    },
  };

  #change(message: Message): void {
    const handler = this.#handlers[message.type];
    if (handler === undefined) throw new Error(`the fake kernel does not implement messages of type ${message.type}`);
    handler(message);
  }

  #find(index: number, name: string | undefined): LinkMessage {
    const byIndex = this.#links.get(index);
    const found = byIndex ?? [...this.#links.values()].find(({ attributes }) => attributes.ifname === name);
    if (found === undefined) throw new Refusal(ENODEV);
    return found;
  }

  #setLink({ header, attributes }: LinkMessage, flags: number): void {
    const { ifname } = attributes;
    if ((flags & NLM_F_CREATE) !== 0) {
      const isTaken = [...this.#links.values()].some((link) => link.attributes.ifname === ifname);
      if (isTaken) throw new Refusal(EEXIST);
      const index = this.#nextIndex++;
      this.#links.set(index, { header: { ...header, index }, attributes });
      return;
    }
    const held = this.#find(header.index, ifname);
    const { index } = held.header;
    const linkFlags = (held.header.flags & ~header.change) | (header.flags & header.change);
    const isNewMac = attributes.address !== undefined && hex(attributes.address) !== hex(held.attributes.address);
    this.#links.set(index, {
      header: { ...held.header, flags: linkFlags },
      attributes: mergeLink(held.attributes, attributes),
    });
    if (isNewMac || (linkFlags & IFF_UP) === 0)
      dropOf(this.#neighbours, index, ({ header }) => header.family !== AF_BRIDGE);
    if ((linkFlags & IFF_UP) === 0) this.#dropRoutes(index);
  }

  #removeLink({ header, attributes }: LinkMessage): void {
    const { index } = this.#find(header.index, attributes.ifname).header;
    this.#links.delete(index);
    dropOf(this.#addresses, index);
    dropOf(this.#neighbours, index);
    this.#dropRoutes(index);
  }

  #dropRoutes(index: number): void {
    for (const [key, { attributes }] of this.#routes) if (attributes.outputIndex === index) this.#routes.delete(key);
  }

  #setRoute(route: RouteMessage, flags: number): void {
    const { header, attributes } = route;
    const link = this.#find(attributes.outputIndex ?? 0, undefined);
    if ((link.header.flags & IFF_UP) === 0) throw new Refusal(ENETDOWN);
    const priority = attributes.priority ?? (header.family === AF_INET6 ? DEFAULT_METRIC6 : undefined);
    put(this.#routes, routeKey(route), { header, attributes: { ...attributes, priority } }, flags);
  }

  /** Fields that the request does not state match every route. */
  #removeRoute(wanted: RouteMessage): void {
    const key = routeKey(wanted);
    const held = this.#routes.get(key);
    const { gateway, outputIndex } = wanted.attributes;
    const isMeant =
      held !== undefined &&
      (gateway === undefined || hex(gateway) === hex(held.attributes.gateway)) &&
      (outputIndex === undefined || outputIndex === held.attributes.outputIndex) &&
      (wanted.header.protocol === 0 || wanted.header.protocol === held.header.protocol);
    if (!isMeant) throw new Refusal(ESRCH);
    this.#routes.delete(key);
  }
}

function addressKey({ header, attributes }: AddressMessage): string {
  return `${header.index} ${header.prefixLength} ${hex(attributes.local ?? attributes.address)}`;
}

function routeKey({ header, attributes }: RouteMessage): string {
  const priority = attributes.priority ?? (header.family === AF_INET6 ? DEFAULT_METRIC6 : 0);
  return `${header.family} ${header.table} ${hex(attributes.destination)}/${header.destinationLength} ${priority}`;
}

/** The key of a forwarding entry is its hardware address; the key of a neighbour is its IP address. */
function neighbourKey({ header, attributes }: NeighbourMessage): string {
  const isForwarding = header.family === AF_BRIDGE;
  return `${header.family} ${header.index} ${hex(isForwarding ? attributes.lladdr : attributes.destination)}`;
}

function put<T>(table: Map<string, T>, key: string, value: T, flags: number): void {
  if (table.has(key) && (flags & NLM_F_REPLACE) === 0) throw new Refusal(EEXIST);
  table.set(key, value);
}

function take<T>(table: Map<string, T>, key: string, errno: number): void {
  if (!table.delete(key)) throw new Refusal(errno);
}

function dropOf<T extends { readonly header: { readonly index: number } }>(
  table: Map<string, T>,
  index: number,
  isMeant: (held: T) => boolean = () => true,
): void {
  for (const [key, held] of table) if (held.header.index === index && isMeant(held)) table.delete(key);
}

function mergeLink(held: LinkMessage["attributes"], change: LinkMessage["attributes"]): LinkMessage["attributes"] {
  const stated = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
  const [old, changed] = [held.linkInfo?.device, change.linkInfo?.device];
  const isSameVxlan = old?.kind === "vxlan" && changed?.kind === "vxlan";
  const given = isSameVxlan ? Object.entries(changed.data ?? {}).filter(([, value]) => value !== undefined) : [];
  const linkInfo = isSameVxlan
    ? { device: { kind: "vxlan" as const, data: { ...old.data, ...Object.fromEntries(given) } } }
    : held.linkInfo;
  return { ...held, ...stated, ifname: held.ifname, linkInfo } as LinkMessage["attributes"];
}

function linkRequest({ header, attributes }: LinkMessage): Encodable {
  return query(RTM_NEWLINK, "", header, { ...attributes, familySettings: undefined });
}

/** struct nlmsgerr, with an empty request header inside. */
const ENDING = { identifier: "", header: struct({ error: i32, request: u64, more: u64 }), attributes: attributes({}) };

/** The data messages and the final message, in one datagram. */
function answerWith({ sequence }: Message, data: readonly Encodable[], type: number, errno: number): Uint8Array {
  const writer = new ByteWriter();
  for (const item of data) writeRequest(writer, item, sequence, NLM_F_MULTI);
  writeRequest(writer, query({ ...ENDING, type }, "", { error: -errno }, {}), sequence, 0);
  return writer.finish();
}

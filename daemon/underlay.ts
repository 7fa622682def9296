/**
 * Which interface and addresses carry traffic between nodes. Pure.
 *
 * In this order: what the operator says (--iface, --public-ip), the interface that holds the Node's InternalIP, the one
 * of the default route. Both families go by the same interface.
 */
import { type Address, type Family, formatAddress, isSameAddress } from "../pkg/ip/address.ts";
import type { LinkAddress } from "../pkg/kernel/address.ts";
import type { Link } from "../pkg/kernel/link.ts";
import type { ObservedRoute } from "../pkg/kernel/route.ts";
import { RT_SCOPE, RT_TABLE_MAIN } from "../pkg/netlink/route.ts";

/** What the kernel holds, as far as the choice looks at it. */
export interface LocalState {
  readonly links: readonly Link[];
  readonly addresses: readonly LinkAddress[];
  readonly routes: readonly ObservedRoute[];
}

/** What decides. */
export interface UnderlayWishes {
  readonly iface: string | undefined;
  readonly publicIp: readonly Address[];
  /** The Node's status.addresses of type InternalIP. */
  readonly internalAddresses: readonly Address[];
}

export interface UnderlayAddress {
  /** On the interface: what our packets carry as their source. */
  readonly local: Address;
  /** What peers send to: `local`, unless the operator said otherwise. */
  readonly announced: Address;
}

export interface UnderlayChoice {
  readonly link: Link;
  readonly ipv4: UnderlayAddress | undefined;
  readonly ipv6: UnderlayAddress | undefined;
  /** Why this one, for the log. */
  readonly reason: string;
}

/** No interface can be chosen; the message says what was looked for, what is there and what to do. */
export class UnderlayError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UnderlayError";
  }
}

/** Throws `UnderlayError`. */
export function chooseUnderlay(wishes: UnderlayWishes, state: LocalState): UnderlayChoice {
  const { link, reason } = chooseLink(wishes, state);
  const ipv4 = addressOf(link, 4, wishes, state);
  const ipv6 = addressOf(link, 6, wishes, state);
  if (ipv4 === undefined && ipv6 === undefined) {
    throw new UnderlayError(
      `interface ${link.name} (${reason}) has no address that other nodes could reach; give it one`,
    );
  }
  return { link, ipv4, ipv6, reason };
}

interface LinkChoice {
  readonly link: Link;
  readonly reason: string;
}

function chooseLink(wishes: UnderlayWishes, state: LocalState): LinkChoice {
  const { iface, publicIp, internalAddresses } = wishes;
  if (iface !== undefined) {
    const link = state.links.find(({ name }) => name === iface);
    if (link !== undefined) return { link, reason: "--iface" };
    throw new UnderlayError(`--iface ${iface}: there is no such interface; there are ${linkNames(state)}`);
  }
  const chosen =
    linkOfAddress(publicIp, "--public-ip", state) ??
    linkOfAddress(internalAddresses, "the Node's InternalIP", state) ??
    linkOfDefaultRoute(state);
  if (chosen !== undefined) return chosen;
  const looked = internalAddresses.length === 0 ? "none" : internalAddresses.map(formatAddress).join(", ");
  throw new UnderlayError(
    `no underlay interface: none holds the Node's InternalIP (${looked}) and there is no default route; ` +
      `choose one of ${linkNames(state)} by --iface`,
  );
}

function linkOfAddress(wanted: readonly Address[], what: string, state: LocalState): LinkChoice | undefined {
  for (const address of wanted) {
    const holder = state.addresses.find(({ prefix }) => isSameAddress(prefix.address, address));
    const link = state.links.find(({ index }) => index === holder?.index);
    if (link !== undefined) return { link, reason: `${what} ${formatAddress(address)}` };
  }
  return undefined;
}

/** IPv4's before IPv6's, then the one of the lowest metric. */
function linkOfDefaultRoute(state: LocalState): LinkChoice | undefined {
  const routes = state.routes
    .filter(({ destination, table }) => destination.length === 0 && table === RT_TABLE_MAIN)
    .sort(
      (a, b) => a.destination.address.family - b.destination.address.family || (a.priority ?? 0) - (b.priority ?? 0),
    );
  for (const { outputIndex } of routes) {
    const link = state.links.find(({ index }) => index === outputIndex);
    if (link !== undefined) return { link, reason: "the default route" };
  }
  return undefined;
}

/** An address that the Node is known by, else the interface's first that reaches beyond the link. */
function addressOf(
  link: Link,
  family: Family,
  { publicIp, internalAddresses }: UnderlayWishes,
  state: LocalState,
): UnderlayAddress | undefined {
  const usable = state.addresses
    .filter(
      ({ index, prefix, scope, isDuplicate }) =>
        index === link.index && prefix.address.family === family && scope === RT_SCOPE.universe && !isDuplicate,
    )
    .map(({ prefix }) => prefix.address);
  const isUsable = (address: Address) => usable.some((other) => isSameAddress(address, other));
  const local = [...publicIp, ...internalAddresses].find(isUsable) ?? usable[0];
  if (local === undefined) return undefined;
  return { local, announced: publicIp.find((address) => address.family === family) ?? local };
}

function linkNames({ links }: LocalState): string {
  const names = links.map(({ name }) => name).filter((name) => name !== "lo");
  return names.length === 0 ? "no interfaces but lo" : names.join(", ");
}

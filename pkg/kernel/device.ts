/** Devices of ours that lead to other nodes: what all kinds of them have in common. */
import { DEVICE_ALIAS_START, VTEP_ALIAS } from "../footprint.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import type { Link } from "./link.ts";

/** What brings a device to what it should be. */
export interface DevicePlan {
  readonly requests: readonly Request[];
  /** The device can be programmed with the same requests: it is there, and keeps what is programmed into it. */
  readonly isReady: boolean;
  /** What stands under the name has to go first, with all that is programmed into it. */
  readonly removes: boolean;
}

/** A device that leads to other nodes, as it should be. It knows itself how it gets so. */
export interface Device {
  readonly name: string;
  /** The kind of link, as the kernel calls it ("vxlan"): what stands under the name and is of another is a stranger's. */
  readonly kind: string;
  /** The name of the backend that it is of. */
  readonly backend: string;
  readonly mtu: number;
  /** By which peers know it; undefined for devices without a hardware address. */
  readonly mac?: string | undefined;
  /** Its own addresses: what this node's packets to pods elsewhere carry as their source. */
  readonly addresses: readonly Prefix[];
  /** What belongs here, and what an operator can do about another device in its place. */
  readonly conflict: { readonly belongs: string; readonly advice: string };
  /** `link`: the device of this name, if there is one. */
  plan(link: Link | undefined): DevicePlan;
}

/** The alias of devices of a backend: what carries it may be removed when it is no longer wanted. */
export function deviceAlias(backend: string): string {
  return `${DEVICE_ALIAS_START}${backend}`;
}

/** True of a device that leads to other nodes and is ours, whichever backend's. */
export function isOwnDevice({ alias }: Pick<Link, "alias">): boolean {
  return alias === VTEP_ALIAS || alias.startsWith(DEVICE_ALIAS_START);
}

/** The properties that weft's devices to other nodes have in common, whatever their kind. */
import { DEVICE_ALIAS_START, VTEP_ALIAS } from "../footprint.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Request } from "../netlink/message.ts";
import type { Link } from "./link.ts";

/** The changes that bring a device to the desired state. */
export interface DevicePlan {
  readonly requests: readonly Request[];
  /**
   * The device exists and keeps its entries: neighbours and routes can be programmed in the same batch as `requests`.
   */
  readonly isReady: boolean;
  /** The existing device of this name must be removed first, with everything programmed into it. */
  readonly removes: boolean;
}

/** The desired state of a device to other nodes, with the method that plans the changes to reach it. */
export interface Device {
  readonly name: string;
  /** The link kind as the kernel names it ("vxlan"). An existing device of this name and another kind is not weft's. */
  readonly kind: string;
  /** The name of the backend that uses the device. */
  readonly backend: string;
  readonly mtu: number;
  /** The address that peers use for this node; undefined for devices without a hardware address. */
  readonly mac?: string | undefined;
  /** The device's own addresses, which are the source of this node's packets to pods on other nodes. */
  readonly addresses: readonly Prefix[];
  /** Describes the expected device, and how an operator resolves a conflict with another device of this name. */
  readonly conflict: { readonly belongs: string; readonly advice: string };
  /** Plans the changes to `link`, the existing device of this name, if there is one. */
  plan(link: Link | undefined): DevicePlan;
}

/** The alias of a backend's devices. weftd may remove an unused device that carries it. */
export function deviceAlias(backend: string): string {
  return `${DEVICE_ALIAS_START}${backend}`;
}

/** True if the device leads to other nodes and carries an alias of any weft backend. */
export function isOwnDevice({ alias }: Pick<Link, "alias">): boolean {
  return alias === VTEP_ALIAS || alias.startsWith(DEVICE_ALIAS_START);
}

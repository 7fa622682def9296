/** Finds or creates the bridge device, and adds the gateway addresses that pods' routes use. */
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { contains, formatPrefix, isSamePrefix, networkOf, type Prefix } from "../../pkg/ip/prefix.ts";
import { addAddress, deleteAddress, type LinkAddress } from "../../pkg/kernel/address.ts";
import { changeLink, createBridge, type Link, type LinkChange } from "../../pkg/kernel/link.ts";
import { setVlanFiltering } from "../../pkg/kernel/port-vlan.ts";
import { findLink, readAddresses } from "../../pkg/kernel/read.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isExists, isNetlinkError, type NetlinkError } from "../../pkg/netlink/errors.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import type { BridgeConfig } from "./config.ts";

export interface FoundBridge {
  readonly bridge: Link;
  /** True if this call created the bridge. */
  readonly wasMade: boolean;
}

/**
 * Returns the bridge, which is up. Creates it if it does not exist, and enables VLAN filtering if the configuration has
 * VLANs. The reference leaves an existing bridge unchanged, so that its pods are in all VLANs. `mac` is the address of
 * a new bridge. If two ADDs find no bridge at the same time, the one that fails to create it uses the other's bridge.
 */
export function ensureBridge(netlink: BlockingNetlink, config: BridgeConfig, mac: string): FoundBridge {
  const found = findLink(netlink, config.bridge);
  if (found !== undefined) return { bridge: adjustBridge(netlink, found, config), wasMade: false };
  const filtersVlans = config.vlans !== undefined;
  const [made] = netlink.exchange([createBridge({ name: config.bridge, mac, mtu: config.mtu, filtersVlans })]);
  if (made?.error !== undefined && !isExists(made.error)) {
    throw filtersVlans && isNetlinkError(made.error, "EOPNOTSUPP") ? withoutFiltering(made.error) : made.error;
  }
  const bridge = findLink(netlink, config.bridge);
  if (bridge === undefined) {
    throw new CniError(
      ErrorCode.tryAgainLater,
      `the bridge ${config.bridge} vanished while it was being set up; try again`,
    );
  }
  return { bridge: adjustBridge(netlink, bridge, config), wasMade: made?.error === undefined };
}

function adjustBridge(netlink: BlockingNetlink, bridge: Link, config: BridgeConfig): Link {
  if (bridge.kind !== "bridge") {
    throw new CniError(
      ErrorCode.invalidConfig,
      `bridge: the device ${bridge.name} already exists and is not a bridge but ${bridge.kind || "a physical device"}; choose another name, or remove the device`,
    );
  }
  if (config.vlans !== undefined && bridge.bridge?.filtersVlans !== true) startFiltering(netlink, bridge);
  const promiscuous = config.promiscMode && !bridge.isPromiscuous;
  if (bridge.isUp && !promiscuous) return bridge;
  const change: LinkChange = promiscuous ? { up: true, promiscuous: true } : { up: true };
  netlink.run(changeLink(bridge.index, change));
  return { ...bridge, isUp: true, isPromiscuous: bridge.isPromiscuous || promiscuous };
}

/** Enables VLAN filtering. Existing ports stay in the bridge's default VLAN, and reach each other as before. */
function startFiltering(netlink: BlockingNetlink, bridge: Link): void {
  const [reply] = netlink.exchange([setVlanFiltering(bridge, true)]);
  if (reply?.error === undefined) return;
  throw isNetlinkError(reply.error, "EOPNOTSUPP") ? withoutFiltering(reply.error) : reply.error;
}

function withoutFiltering(cause: NetlinkError): CniError {
  return new CniError(ErrorCode.unsupportedField, `${cause.message}; ${NO_FILTERING}`, { cause });
}

/** For STATUS: throws `CniError` 50 if the bridge shows that this kernel does not support the configuration. */
export function assertFilteringIsPossible(netlink: BlockingNetlink, config: BridgeConfig): void {
  if (config.vlans === undefined) return;
  const bridge = findLink(netlink, config.bridge)?.bridge;
  if (bridge === undefined || bridge.canFilterVlans) return;
  throw new CniError(ErrorCode.notAvailable, `the bridge ${config.bridge}: ${NO_FILTERING}`);
}

const NO_FILTERING = "vlan and vlanTrunk need a kernel whose bridges filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING)";

/**
 * Returns requests that make `device` have the addresses `gateways`, compared with its current ones. Throws as
 * `planGateways` does.
 */
export function holdGateways(
  netlink: BlockingNetlink,
  device: Link,
  gateways: readonly Prefix[],
  { forceAddress }: Pick<BridgeConfig, "forceAddress">,
): Request[] {
  if (gateways.length === 0) return [];
  return planGateways(device, readAddresses(netlink, device.index), gateways, forceAddress);
}

/**
 * Returns requests that make `bridge` have the addresses `gateways`. Throws if another address conflicts: for IPv4 any
 * other address (a bridge has one gateway), for IPv6 an address of an overlapping network. With `force`, conflicting
 * addresses are removed instead.
 */
export function planGateways(
  bridge: Link,
  held: readonly LinkAddress[],
  gateways: readonly Prefix[],
  force: boolean,
): Request[] {
  const requests: Request[] = [];
  for (const gateway of gateways) {
    if (held.some(({ prefix }) => isSamePrefix(prefix, gateway))) continue;
    for (const { prefix } of held.filter((address) => conflicts(address.prefix, gateway, gateways))) {
      if (!force) {
        throw new CniError(
          ErrorCode.invalidConfig,
          `"${bridge.name}" already has an IP address different from ${formatPrefix(gateway)}: it has ${formatPrefix(prefix)} ` +
            `(remove it with "ip address del ${formatPrefix(prefix)} dev ${bridge.name}" once no pod uses it, or set forceAddress)`,
        );
      }
      requests.push(deleteAddress(bridge.index, prefix));
    }
    requests.push(addAddress({ index: bridge.index, prefix: gateway, skipDetection: true }));
  }
  return requests;
}

function conflicts(held: Prefix, gateway: Prefix, wanted: readonly Prefix[]): boolean {
  if (held.address.family !== gateway.address.family) return false;
  if (wanted.some((prefix) => isSamePrefix(prefix, held))) return false;
  if (gateway.address.family === 4) return true;
  return contains(networkOf(held), gateway.address) || contains(networkOf(gateway), held.address);
}

/**
 * Carries out the requests of `planGateways`. Succeeds if another ADD has just added the same gateway, or another
 * program has removed the address. Fails if the bridge is gone.
 */
export function applyGateways(netlink: BlockingNetlink, requests: readonly Request[]): void {
  for (const { error } of netlink.exchange(requests)) {
    if (error !== undefined && !isExists(error) && !isNetlinkError(error, "EADDRNOTAVAIL")) throw error;
  }
}

/** Reads the runtime's folder of network configurations, as the runtime does. */

import { ConfigObject } from "../../pkg/cni/config.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { isNetworkFile, parseJsonObject } from "../../pkg/cni/network.ts";
import { DEFAULT_BRIDGE, DEFAULT_HOST_LOCAL_DIR, NETWORK_NAME } from "../../pkg/footprint.ts";
import type { AttachPlugin } from "../../pkg/reconcile/pod-ends.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

export interface NetworkFile {
  readonly name: string;
  /** Why the file is not a valid network configuration. Undefined if it is. */
  readonly problem: string | undefined;
  readonly network: string;
  /** In the order of the calls. */
  readonly plugins: readonly ConfigObject[];
}

export interface NetworkFolder {
  readonly path: string;
  /** Sorted by name. The runtime uses the first. */
  readonly files: readonly NetworkFile[];
}

/** A missing folder is empty. */
export function readNetworks(system: System, path: string): NetworkFolder {
  const names = namesIn(system, path).filter(isNetworkFile);
  return { path, files: names.sort().flatMap((name) => readNetwork(system, path, name)) };
}

/** Returns the names of a folder's entries. Empty if there is no such folder. */
export function namesIn(system: System, path: string): string[] {
  try {
    return system.readDirectory(path);
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

/** Empty if there is no such file. */
export function readNetwork(system: System, folder: string, name: string): NetworkFile[] {
  try {
    const object = new ConfigObject(parseJsonObject(system.readFile(`${folder}/${name}`), name));
    // A file of one plugin is a list of one.
    const plugins = object.has("plugins") ? object.objectList("plugins") : [object];
    for (const plugin of plugins) plugin.requiredString("type");
    if (plugins.length === 0) throw object.invalid("plugins", "at least one plugin");
    return [{ name, problem: undefined, network: object.requiredString("name"), plugins }];
  } catch (error) {
    if (isSystemError(error, "ENOENT")) return [];
    if (isCniError(error) || isSystemError(error)) return [{ name, problem: error.message, network: "", plugins: [] }];
    throw error;
  }
}

/** How weftd's conflist attaches pods. Without a conflist, the settings that a new one would have. */
export interface AttachSettings {
  readonly network: string;
  readonly plugin: AttachPlugin;
  /** Undefined if each pod has its own link (ptp). */
  readonly bridge: string | undefined;
  readonly mtu: number | undefined;
  /** The directory of host-local's reservations, which has a folder for each network. */
  readonly dataDir: string;
  /** The subnets of host-local's ranges. */
  readonly subnets: readonly string[];
}

/** Returns the bridge to which `plugin` attaches pods. Undefined if it uses none. */
export function bridgeOf(plugin: ConfigObject): string | undefined {
  const type = plugin.value("type");
  if (type !== "bridge" && type !== "flannel") return undefined;
  const settings = type === "bridge" ? plugin.value("bridge") : delegatedBridge(plugin.value("delegate"));
  return typeof settings === "string" && settings !== "" ? settings : DEFAULT_BRIDGE;
}

function delegatedBridge(delegate: unknown): unknown {
  return typeof delegate === "object" && delegate !== null && "bridge" in delegate ? delegate.bridge : undefined;
}

/** Returns the attachment settings of `file`. */
export function attachmentOf(file: NetworkFile | undefined): AttachSettings {
  const [first] = file?.plugins ?? [];
  const ipam = first?.object("ipam");
  const isBridge = first === undefined || first.value("type") === "bridge";
  const mtu = first?.value("mtu");
  const dataDir = ipam?.value("dataDir");
  return {
    network: file?.network || NETWORK_NAME,
    plugin: isBridge ? "bridge" : "ptp",
    bridge: isBridge ? ((first && bridgeOf(first)) ?? DEFAULT_BRIDGE) : undefined,
    mtu: typeof mtu === "number" ? mtu : undefined,
    dataDir: typeof dataDir === "string" && dataDir !== "" ? dataDir : DEFAULT_HOST_LOCAL_DIR,
    subnets: ipam === undefined ? [] : subnetsOf(ipam),
  };
}

function subnetsOf(ipam: ConfigObject): string[] {
  try {
    return ipam.objectLists("ranges").flatMap((set) => set.map((range) => range.requiredString("subnet")));
  } catch (error) {
    if (isCniError(error)) return [];
    throw error;
  }
}

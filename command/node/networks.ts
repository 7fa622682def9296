/** The folder in which the container runtime looks for networks, as the runtime reads it. */

import { ConfigObject } from "../../pkg/cni/config.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { isNetworkFile, parseJsonObject } from "../../pkg/cni/network.ts";
import { DEFAULT_BRIDGE, DEFAULT_HOST_LOCAL_DIR, NETWORK_NAME } from "../../pkg/footprint.ts";
import type { AttachPlugin } from "../../pkg/reconcile/pod-ends.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { System } from "../../pkg/sys/system.ts";

export interface NetworkFile {
  readonly name: string;
  /** In words, why it is no network configuration. */
  readonly problem: string | undefined;
  readonly network: string;
  /** As they are called in turn. */
  readonly plugins: readonly ConfigObject[];
}

export interface NetworkFolder {
  readonly path: string;
  /** In the order of their names: the runtime takes the first. */
  readonly files: readonly NetworkFile[];
}

/** An absent folder is empty. */
export function readNetworks(system: System, path: string): NetworkFolder {
  const names = namesIn(system, path).filter(isNetworkFile);
  return { path, files: names.sort().flatMap((name) => readNetwork(system, path, name)) };
}

/** Names of a folder's entries; none where there is no such folder. */
export function namesIn(system: System, path: string): string[] {
  try {
    return system.readDirectory(path);
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

/** Nothing where there is no such file. */
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

/** How weftd's conflist attaches pods; what a new one would say where there is none. */
export interface AttachSettings {
  readonly network: string;
  readonly plugin: AttachPlugin;
  /** Undefined: each pod has a link of its own (ptp). */
  readonly bridge: string | undefined;
  readonly mtu: number | undefined;
  /** Where host-local keeps its reservations, the network's folder in it. */
  readonly dataDir: string;
  /** Of host-local's ranges. */
  readonly subnets: readonly string[];
}

/** The bridge on which `plugin` puts pods; `undefined` where it puts them on none. */
export function bridgeOf(plugin: ConfigObject): string | undefined {
  const type = plugin.value("type");
  if (type !== "bridge" && type !== "flannel") return undefined;
  const settings = type === "bridge" ? plugin.value("bridge") : delegatedBridge(plugin.value("delegate"));
  return typeof settings === "string" && settings !== "" ? settings : DEFAULT_BRIDGE;
}

function delegatedBridge(delegate: unknown): unknown {
  return typeof delegate === "object" && delegate !== null && "bridge" in delegate ? delegate.bridge : undefined;
}

/** What `file` says of pods' attachment. */
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

/**
 * Reads the places of weft's objects from network configurations. weft's own configuration is read even after it was
 * renamed for removal.
 */

import type { ConfigObject } from "../../pkg/cni/config.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { CONFLIST_NAME, REMOVED_CONFLIST } from "../../pkg/footprint.ts";
import type { System } from "../../pkg/sys/system.ts";
import { bridgeOf, readNetwork, readNetworks } from "../node/networks.ts";

export interface Stated {
  /** Undefined if weft's configuration names none. */
  readonly bridge: string | undefined;
  readonly runDirs: readonly string[];
  /** Directories of host-local. */
  readonly dataDirs: readonly string[];
  /** Files of other networks in use, and their bridges. */
  readonly others: readonly { readonly file: string; readonly bridge: string }[];
}

/** Throws `SystemError`. */
export function readStated(system: System, folder: string): Stated {
  const own = [CONFLIST_NAME, REMOVED_CONFLIST].flatMap((name) => readNetwork(system, folder, name));
  const plugins = own.flatMap((file) => file.plugins);
  return {
    bridge: plugins.map(bridgeOf).find((name) => name !== undefined),
    runDirs: plugins.flatMap((plugin) => pathIn(plugin, "runDir")),
    dataDirs: plugins.flatMap((plugin) => ipamOf(plugin).flatMap((ipam) => pathIn(ipam, "dataDir"))),
    others: readNetworks(system, folder)
      .files.filter(({ name }) => name !== CONFLIST_NAME)
      .flatMap(({ name, plugins }) =>
        plugins.map(bridgeOf).flatMap((bridge) => (bridge === undefined ? [] : [{ file: name, bridge }])),
      ),
  };
}

function pathIn(object: ConfigObject, key: string): string[] {
  const path = object.value(key);
  return typeof path === "string" && path.startsWith("/") ? [path] : [];
}

function ipamOf(plugin: ConfigObject): ConfigObject[] {
  try {
    return [plugin.object("ipam")];
  } catch (error) {
    if (isCniError(error)) return [];
    throw error;
  }
}

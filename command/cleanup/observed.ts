/** Reads weft's objects on this node, and what else the cleanup depends on. Changes nothing. */

import { HOST_LOCAL_INDEX, SOCKET_FILE } from "../../pkg/footprint.ts";
import { FORWARD_OPTIONS } from "../../pkg/foreign/foreign-forward.ts";
import { lookAtForwarding } from "../../pkg/foreign/forward-look.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { readRoutes } from "../../pkg/kernel/read.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { type BlockingNetlink, openNetfilter, openRoute } from "../../pkg/netlink/blocking.ts";
import type { Query } from "../../pkg/netlink/message.ts";
import { lacksNetfilter, readGeneration, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { type NftRuleset, readTables, type TablePlace, tablesDump } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { firewallDumps, readFirewall } from "../../pkg/tables/firewall.ts";
import { type BinDirectory, observeBinDirectory } from "../install/bin-directory.ts";
import { readReservedNetworks } from "../ipam/reservations.ts";
import { namesIn } from "../node/networks.ts";
import { readStated, type Stated } from "./conflist.ts";
import { type LegacyRules, readLegacyRules } from "./legacy.ts";

/** Places to read. weft's conflist may add a run directory and a data directory. */
export interface Places {
  readonly runDir: string;
  readonly stateDir: string;
  readonly cniConfDir: string;
  readonly dataDir: string;
  /** Undefined if the executables are not to be removed. */
  readonly binDir: string | undefined;
}

/** The state of nf_tables. */
export interface RulesSeen {
  /** Read before everything else. */
  readonly generation: number | undefined;
  readonly tables: readonly TablePlace[];
  readonly forwarding: NftRuleset;
  /** Addresses that `firewall` accepts, also by rules in CNI-FORWARD. */
  readonly podAddresses: readonly Address[];
}

export interface FolderSeen {
  readonly path: string;
  readonly files: readonly string[];
}

export interface ObservedNode {
  readonly places: Places;
  /** The run directories in which a weftd answers. */
  readonly alive: readonly string[];
  readonly links: readonly Link[];
  readonly routes: readonly ObservedRoute[];
  readonly rules: RulesSeen;
  readonly legacy: readonly LegacyRules[];
  readonly stated: Pick<Stated, "bridge" | "others">;
  /** Names of the files in the runtime's folder. */
  readonly confFiles: readonly string[];
  /** The existing run directories, and the names in them. */
  readonly runDirs: readonly FolderSeen[];
  /** weftd's state directory. Undefined if it does not exist. */
  readonly state: FolderSeen | undefined;
  /** All paths of host-local's indexes. A directory follows its content. */
  readonly indexPaths: readonly { readonly path: string; readonly isDirectory: boolean }[];
  readonly bin: BinDirectory | undefined;
  /** The number of addresses that host-local has reserved, by data directory. Directories without any are omitted. */
  readonly reserved: readonly { readonly dataDir: string; readonly count: number }[];
}

/** Throws `SystemError` and `NetlinkError`. */
export function observe(system: System, places: Places): ObservedNode {
  const stated = readStated(system, places.cniConfDir);
  const runDirs = distinct([places.runDir, ...stated.runDirs]);
  const dataDirs = distinct([places.dataDir, ...stated.dataDirs]);
  const netlink = openRoute(system);
  try {
    return {
      places,
      alive: runDirs.filter((path) => system.isSocketAlive(`${path}/${SOCKET_FILE}`)),
      links: netlink.dump(linkDump()).map(parseLink),
      routes: readRoutes(netlink),
      rules: observeRules(system),
      legacy: readLegacyRules(system),
      stated,
      confFiles: namesIn(system, places.cniConfDir),
      runDirs: runDirs.flatMap((path) => folderAt(system, path) ?? []),
      state: folderAt(system, places.stateDir),
      indexPaths: dataDirs.flatMap((dataDir) => pathsBelow(system, `${dataDir}/${HOST_LOCAL_INDEX}`)),
      reserved: dataDirs
        .map((dataDir) => ({ dataDir, count: countReserved(system, dataDir, places.cniConfDir) }))
        .filter(({ count }) => count > 0),
      bin: places.binDir === undefined ? undefined : observeBinDirectory(places.binDir, system),
    };
  } finally {
    netlink.close();
  }
}

function folderAt(system: System, path: string): FolderSeen | undefined {
  return system.status(path) === undefined ? undefined : { path, files: namesIn(system, path) };
}

const NO_RULES: RulesSeen = {
  generation: undefined,
  tables: [],
  forwarding: { tables: [], chains: [], rules: [] },
  podAddresses: [],
};

function observeRules(system: System): RulesSeen {
  try {
    const netfilter = openNetfilter(system);
    try {
      return lookAtRules(netfilter);
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (lacksNetfilter(error)) return NO_RULES;
    throw error;
  }
}

/** Reads objects of nf_tables that may be weft's. Throws if the kernel does not support nf_tables. */
export function lookAtRules(netfilter: BlockingNetlink): RulesSeen {
  const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
  return {
    generation: readGeneration(netfilter),
    tables: readTables(read([tablesDump()])),
    forwarding: lookAtForwarding(read, FORWARD_OPTIONS),
    podAddresses: readFirewall(read(firewallDumps())).pods.map(({ address }) => address),
  };
}

/** Removes trailing slashes, so that each directory has one name. */
function distinct(paths: readonly string[]): string[] {
  return [...new Set(paths.map((path) => path.replace(/(?<=.)\/+$/, "")))];
}

function countReserved(system: System, dataDir: string, confDir: string): number {
  return readReservedNetworks(system, { dataDir, confDir }).flatMap(({ reservations }) => reservations).length;
}

function pathsBelow(system: System, path: string): { path: string; isDirectory: boolean }[] {
  // The target of a symbolic link is not part of the index.
  if (system.readLink(path) !== undefined) return [{ path, isDirectory: false }];
  const kind = system.status(path)?.kind;
  if (kind !== "directory") return kind === undefined ? [] : [{ path, isDirectory: false }];
  const inside = namesIn(system, path)
    .sort()
    .flatMap((name) => pathsBelow(system, `${path}/${name}`));
  return [...inside, { path, isDirectory: true }];
}

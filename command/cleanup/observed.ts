/** What of weft's there is on this node, and what must be known beside it. Nothing is changed by looking. */

import { SOCKET_FILE } from "../../pkg/backend/node-table.ts";
import { lookAtForwarding } from "../../pkg/kernel/foreign-forward.ts";
import { type ForeignRuleset, readTables, type TablePlace, tablesDump } from "../../pkg/kernel/foreign-rules.ts";
import { type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { readRoutes } from "../../pkg/kernel/read.ts";
import type { ObservedRoute } from "../../pkg/kernel/route.ts";
import { type BlockingNetlink, openNetfilter, openRoute } from "../../pkg/netlink/blocking.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { lacksNetfilter, readGeneration, readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { type BinDirectory, observeBinDirectory } from "../install/bin-directory.ts";
import { readReservedNetworks } from "../ipam/reservations.ts";
import { namesIn, OWN_CONFLIST, readNetworks } from "../node/networks.ts";
import { type LegacyRules, readLegacyRules } from "./legacy.ts";

export interface Places {
  readonly runDir: string;
  readonly cniConfDir: string;
  readonly dataDir: string;
  /** `undefined`: the executables stay. */
  readonly binDir: string | undefined;
}

/** As the plugin `firewall` and weftd have it. */
export const FORWARD_OPTIONS = { adminChain: "CNI-ADMIN" };
export const DISABLED = ".weft-disabled";
/** host-local's index, beside the networks' directories. */
const INDEX = ".weft";

/** Of nf_tables. */
export interface RulesSeen {
  /** Before anything else was read. */
  readonly generation: number | undefined;
  readonly tables: readonly TablePlace[];
  readonly forwarding: ForeignRuleset;
}

export interface Observed {
  readonly places: Places;
  readonly isWeftdAlive: boolean;
  readonly links: readonly Link[];
  readonly routes: readonly ObservedRoute[];
  readonly rules: RulesSeen;
  readonly legacy: readonly LegacyRules[];
  /** The bridge that weft's conflist names. */
  readonly bridge: string | undefined;
  /** Names in the runtime's folder. */
  readonly confFiles: readonly string[];
  /** Names in the run directory; `undefined` where there is none. */
  readonly runFiles: readonly string[] | undefined;
  /** All paths of host-local's index, each behind what is in it. */
  readonly indexPaths: readonly { readonly path: string; readonly isDirectory: boolean }[];
  readonly bin: BinDirectory | undefined;
  /** How many addresses host-local has reserved. */
  readonly reservedCount: number;
}

/** Throws `SystemError` and `NetlinkError`. */
export function observe(system: System, places: Places): Observed {
  const netlink = openRoute(system);
  try {
    return {
      places,
      isWeftdAlive: system.isSocketAlive(`${places.runDir}/${SOCKET_FILE}`),
      links: netlink.dump(linkDump()).map(parseLink),
      routes: readRoutes(netlink),
      rules: observeRules(system),
      legacy: readLegacyRules(system),
      bridge: readBridge(system, places.cniConfDir),
      confFiles: namesIn(system, places.cniConfDir),
      runFiles: system.status(places.runDir) === undefined ? undefined : namesIn(system, places.runDir),
      indexPaths: pathsBelow(system, `${places.dataDir}/${INDEX}`),
      reservedCount: readReservedNetworks(system, { dataDir: places.dataDir, confDir: places.cniConfDir }).flatMap(
        ({ reservations }) => reservations,
      ).length,
      bin: places.binDir === undefined ? undefined : observeBinDirectory(places.binDir, system),
    };
  } finally {
    netlink.close();
  }
}

function observeRules(system: System): RulesSeen {
  try {
    const netfilter = openNetfilter(system);
    try {
      return lookAtRules(netfilter);
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (lacksNetfilter(error)) return { generation: undefined, tables: [], forwarding: { chains: [], rules: [] } };
    throw error;
  }
}

/** What of nf_tables may be weft's. Throws where the kernel has no nf_tables. */
export function lookAtRules(netfilter: BlockingNetlink): RulesSeen {
  const read = (questions: readonly Request[]) => readRuleset(netfilter, questions);
  return {
    generation: readGeneration(netfilter),
    tables: readTables(read([tablesDump()])),
    forwarding: lookAtForwarding(read, FORWARD_OPTIONS),
  };
}

function readBridge(system: System, directory: string): string | undefined {
  const conflist = readNetworks(system, directory).files.find(({ name }) => name === OWN_CONFLIST);
  const bridge = conflist?.plugins.find((each) => each.value("type") === "bridge")?.value("bridge");
  return typeof bridge === "string" ? bridge : undefined;
}

function pathsBelow(system: System, path: string): { path: string; isDirectory: boolean }[] {
  const kind = system.status(path)?.kind;
  if (kind !== "directory") return kind === undefined ? [] : [{ path, isDirectory: false }];
  const inside = namesIn(system, path)
    .sort()
    .flatMap((name) => pathsBelow(system, `${path}/${name}`));
  return [...inside, { path, isDirectory: true }];
}

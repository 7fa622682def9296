/** `weft cleanup --services`: removes only the rules of Services, to return to kube-proxy. */

import { SERVICES_SOCKET_FILE } from "../../pkg/footprint.ts";
import { isServicesTable } from "../../pkg/foreign/forward-chains.ts";
import { proxyLeftoversLook } from "../../pkg/foreign/kube-proxy/leftovers.ts";
import { type BlockingNetlink, openNetfilter } from "../../pkg/netlink/blocking.ts";
import { answered } from "../../pkg/netlink/look.ts";
import { type Change, changeSeen, lacksNetfilter, readRuleset } from "../../pkg/netlink/ruleset.ts";
import { deleteTable, readTables, type TablePlace, tablesDump } from "../../pkg/nft/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { changeBlocks } from "../change-report.ts";
import { CommandError, ExitStatus, type Outcome } from "../outcome.ts";
import { readStated } from "./conflist.ts";
import { closeLoopback, closingText } from "./loopback.ts";

export interface ServicesCleanup {
  readonly runDir: string;
  readonly cniConfDir: string;
  readonly dryRun: boolean;
  readonly force: boolean;
}

interface SeenTables {
  readonly tables: readonly TablePlace[];
  /** Descriptions of the rules of another program that serves Services with nf_tables. Empty if there are none. */
  readonly proxy: readonly string[];
}

export function cleanUpServices(system: System, { runDir, cniConfDir, dryRun, force }: ServicesCleanup): Outcome {
  const runDirs = [...new Set([runDir, ...readStated(system, cniConfDir).runDirs])];
  const alive = runDirs.filter((path) => system.isSocketAlive(`${path}/${SERVICES_SOCKET_FILE}`));
  const seen = observe(system);
  const { requests } = planServices(seen);
  if (!dryRun && !force) assertUnused(alive);
  const commands = [...closingText(seen.tables), ...requests.map(({ text }) => text)];
  const failures = dryRun || commands.length === 0 ? [] : carryOut(system, seen);
  const left = leftBehind(seen);
  return {
    status: failures.length > 0 ? ExitStatus.failed : ExitStatus.done,
    blocks: changeBlocks({
      ...{ commands, left, failures, isDryRun: dryRun },
      nothing: "Found no rules of weft for Services on this node.",
    }),
    data: {
      dryRun,
      changed: !dryRun && failures.length === 0 && commands.length > 0,
      ...{ commands, left, failures },
      pods: [],
      weftdLives: alive.length > 0,
    },
  };
}

function assertUnused([alive]: readonly string[]): void {
  if (alive === undefined) return;
  throw new CommandError(`weftd programs Services (its socket is in ${alive}), and would restore everything`, {
    status: ExitStatus.refused,
    remedy:
      "Nothing was changed. Set --service-proxy none first (WEFTD_SERVICE_PROXY, or the chart's serviceProxy), restart weftd, and start kube-proxy. Or use --force.",
  });
}

/** Removes the tables in one transaction. */
export function planServices({ tables }: Pick<SeenTables, "tables">): Change {
  return { requests: tables.filter(isServicesTable).map(deleteTable), generation: undefined };
}

/** Messages for an operator. */
export function leftBehind({ tables, proxy }: SeenTables): string[] {
  if (!tables.some(isServicesTable)) return [];
  const absent =
    "no rules of kube-proxy: until another program serves Services, new connections to Services fail (iptables-legacy's tables were not read)";
  return [
    proxy.length > 0 ? `kube-proxy's rules: ${proxy.join(", ")}` : absent,
    "established connections, which continue by the kernel's connection tracking",
    "settings of connection tracking (net.netfilter.nf_conntrack_*)",
  ];
}

function observe(system: System): SeenTables {
  try {
    const netfilter = openNetfilter(system);
    try {
      const { found } = answered(proxyLeftoversLook(), (questions) => readRuleset(netfilter, questions));
      return { tables: look(netfilter), proxy: found };
    } finally {
      netfilter.close();
    }
  } catch (error) {
    if (lacksNetfilter(error)) return { tables: [], proxy: [] };
    throw error;
  }
}

function look(netfilter: BlockingNetlink): readonly TablePlace[] {
  return readTables(readRuleset(netfilter, [tablesDump()]));
}

function carryOut(system: System, seen: SeenTables): string[] {
  try {
    closeLoopback(system, seen.tables);
    changeSeen(system, look, (tables) => planServices({ tables }));
    return [];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

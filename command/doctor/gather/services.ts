/** Reads which programs serve Services on this node, and what the kernel has for them. */
import { PROXY_HEALTH_PORT, SERVICES_TABLE } from "../../../pkg/footprint.ts";
import { PROXY_TABLES } from "../../../pkg/foreign/kube-proxy/names.ts";
import type { BlockingNetlink } from "../../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import { NFPROTO } from "../../../pkg/netlink/nftables.ts";
import { readRuleset } from "../../../pkg/netlink/ruleset.ts";
import { type NftChain, readTables, tablePlaceText, tablesDump } from "../../../pkg/nft/ruleset.ts";
import { isSystemError } from "../../../pkg/sys/errors.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { askServices, PAGE_LIMIT_MS } from "../../node/services-page.ts";
import { elsewhere } from "../../node/views.ts";
import type { ServiceFacts } from "../facts.ts";
import { missingServiceOptions } from "./service-options.ts";

export interface Asked {
  readonly netfilter: BlockingNetlink | undefined;
  readonly chains: readonly NftChain[];
  /** True if weftd is running. */
  readonly isAlive: boolean;
  readonly metricsAddress: string;
  readonly timeoutMs: number;
}

export function readServices(system: System, asked: Asked): ServiceFacts {
  const { netfilter, isAlive, metricsAddress, timeoutMs } = asked;
  const answer = isAlive ? askServices(system, metricsAddress, Math.max(timeoutMs, PAGE_LIMIT_MS)) : undefined;
  const tables = netfilter === undefined ? [] : readTables(readRuleset(netfilter, [tablesDump()]));
  const isOwn = ({ family, table }: { family: number; table: string }) =>
    family === NFPROTO.inet && table === SERVICES_TABLE;
  return {
    page: answer?.is === "answered" ? answer.page : undefined,
    isOthers: answer?.is === "not ours",
    hasTable: tables.some(isOwn),
    missingOptions: netfilter === undefined ? [] : missing(netfilter),
    proxies: readProxies(system),
    isHealthPortTaken: acceptsConnections(system, PROXY_HEALTH_PORT, timeoutMs),
    proxyRules: [
      ...tables
        .filter((one) => PROXY_TABLES.some(({ family, table }) => one.family === family && one.table === table))
        .map((one) => `table ${tablePlaceText(one)}`),
      ...asked.chains
        .filter(({ chain, table }) => chain === "KUBE-SERVICES" && table === "nat")
        .map((one) => `chain ${tablePlaceText(one)} ${one.chain}`),
    ],
    processors: readProcessors(system),
  };
}

const LOOPBACK = Uint8Array.of(127, 0, 0, 1);

function acceptsConnections(system: System, port: number, timeoutMs: number): boolean {
  try {
    system.connectTcp(LOOPBACK, port, timeoutMs).close();
    return true;
  } catch (error) {
    if (isSystemError(error)) return false;
    throw error;
  }
}

/** Validating rules needs the right to change them. Without it, no option is reported. */
function missing(netfilter: BlockingNetlink): string[] {
  try {
    return missingServiceOptions(netfilter);
  } catch (error) {
    if (isNetlinkError(error, "EPERM")) return [];
    throw error;
  }
}

/**
 * Returns processes named kube-proxy in this network namespace. kube-proxies of other nodes on this machine are in
 * other namespaces.
 */
function readProxies(system: System): string[] {
  const own = system.readLink("/proc/self/ns/net");
  return elsewhere<string[]>([], () => system.readDirectory("/proc"))
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => nameOf(system, pid) === "kube-proxy")
    .filter((pid) => elsewhere(undefined, () => system.readLink(`/proc/${pid}/ns/net`)) === own);
}

function nameOf(system: System, pid: string): string | undefined {
  try {
    return new TextDecoder().decode(system.readFile(`/proc/${pid}/comm`)).trim();
  } catch (error) {
    if (isSystemError(error)) return undefined;
    throw error;
  }
}

/** Parses the kernel's list of processors, such as "0-3,8". Returns 1 if the kernel does not provide it. */
function readProcessors(system: System): number {
  try {
    const text = new TextDecoder().decode(system.readFile("/sys/devices/system/cpu/online")).trim();
    return text.split(",").reduce((sum, part) => {
      const [first = 0, last = first] = part.split("-").map(Number);
      return sum + last - first + 1;
    }, 0);
  } catch (error) {
    if (isSystemError(error)) return 1;
    throw error;
  }
}

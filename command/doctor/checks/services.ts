/** Checks of Services: weftd in place of kube-proxy, and conditions that prevent it. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import { PROXY_HEALTH_PORT, SERVICES_TABLE } from "../../../pkg/footprint.ts";
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../../../pkg/ip/prefix.ts";
import { placeText } from "../../node/services-page.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";
import { wrong } from "./kernel.ts";
import { syncFindings } from "./sync.ts";

const TABLE = `inet ${SERVICES_TABLE}`;
/** The number of Services that one finding lists. */
const NAMED = 5;

export const serviceKernel: Check = {
  name: "service-kernel",
  group: "services",
  about: "the kernel has the options that weftd needs for Services (NFT_NUMGEN, NFT_FIB_INET, NFT_NAT and others)",
  judge({ services, kernel }) {
    const options = services.missingOptions.map((option) => `CONFIG_${option}`);
    if (options.length === 0 || !kernel.hasNetfilter) return [];
    return [
      {
        severity: isProxy(services) ? "error" : "note",
        seen: `the kernel is built without ${options.join(", ")}, or the modules are missing`,
        why: isProxy(services)
          ? "weftd cannot program Services"
          : "weftd could not program Services here (--service-proxy nftables)",
        advice: "install the kernel's package of extra modules, or a kernel with these options",
      },
    ];
  },
};

export const servicesSync: Check = {
  name: "services-sync",
  group: "services",
  about: "the kernel's rules for Services are up to date",
  judge({ services: { page, hasTable } }) {
    if (page === undefined || !page.state.isOurs) return [];
    const { findings, isComplete } = syncFindings(page.state, {
      subject: "Services",
      why: "changes of endpoints may not reach the kernel",
      waiting: {
        seen: "weftd is waiting for the lists of Services and EndpointSlices",
        why: "weftd has programmed no Services since it started",
        advice: "check that weftd can reach the API server",
      },
    });
    if (!isComplete || hasTable) return findings;
    const gone = "this node and its pods cannot reach any Service";
    return [
      { severity: "error", seen: `the table ${TABLE} is missing`, why: gone, advice: "restart weftd" },
      ...findings,
    ];
  },
};

export const staleServices: Check = {
  name: "stale-services",
  group: "services",
  about: `the table ${TABLE} is kept up to date by a running weftd`,
  judge({ services, run, command }) {
    const keeper = keeperOf(services, run.isAlive);
    if (!services.hasTable || keeper === undefined) return [];
    return [
      {
        severity: "error",
        seen: `the table ${TABLE} exists, but ${keeper.state}`,
        why: "the table may send connections to endpoints that no longer exist, and its rules run before kube-proxy's",
        run: `${command} cleanup --services`,
        advice: keeper.advice,
      },
    ];
  },
};

/** Explains why no weftd updates the table, and when to remove it. Undefined if weftd updates it. */
function keeperOf({ page, isOthers }: Facts["services"], isAlive: boolean) {
  if (!isAlive)
    return {
      state: "weftd is not running",
      advice: "only if weftd should not run here any more; otherwise start weftd, which adopts the table",
    };
  if (isOthers) return { state: "weftd has --service-proxy none", advice: "only once kube-proxy runs here again" };
  if (page?.state.isOurs === false)
    return {
      state: "weftd is waiting for the process on kube-proxy's health port to end",
      advice: "only if kube-proxy should serve this node; otherwise stop kube-proxy, and weftd adopts the table",
    };
  return undefined;
}

export const kubeProxy: Check = {
  name: "kube-proxy",
  group: "services",
  about: "kube-proxy and weftd do not both program Services",
  judge({ services }) {
    const { page, proxies, proxyRules, isHealthPortTaken } = services;
    if (page === undefined) return [];
    const remove =
      "remove kube-proxy from this node (add a nodeSelector to its DaemonSet: kubectl -n kube-system patch ds kube-proxy)";
    if (proxies.length > 0)
      return [
        {
          severity: "error",
          seen: `kube-proxy runs (process ${proxies.join(", ")}), and weftd has --service-proxy ${page.state.mode}`,
          why: page.state.isOurs
            ? "both programs translate the same connections, and the priorities of their rules decide which takes effect"
            : "weftd programs no Services while kube-proxy runs",
          advice: remove,
        },
      ];
    if (!page.state.isOurs && isHealthPortTaken)
      return [
        {
          severity: "error",
          seen: `127.0.0.1:${PROXY_HEALTH_PORT} is in use by another process`,
          why: "weftd assumes that the process is kube-proxy, and programs no Services",
          run: `ss -ltnp sport = :${PROXY_HEALTH_PORT}`,
          advice: "stop the process that ss shows",
        },
      ];
    if (proxyRules.length === 0 || !page.state.isOurs) return [];
    return [
      {
        severity: "warning",
        seen: `kube-proxy's rules are left: ${proxyRules.join(", ")}`,
        why: "connections to addresses unknown to weftd may go to endpoints that no longer exist",
        advice: "weftd removes these rules once it has programmed its own; see its log, and restart it",
      },
    ];
  },
};

export const serviceRanges: Check = {
  name: "service-ranges",
  group: "services",
  about: "the ranges of ClusterIPs do not overlap the pods' networks or the underlay's",
  judge({ services: { page }, table }) {
    const ranges = (page?.node?.serviceRanges ?? []).map(parsePrefix);
    const others: [string, readonly Prefix[]][] = [
      ["the pods' network", table?.conf.networks ?? []],
      ["the underlay's network", table?.node.underlay.networks ?? []],
    ];
    return ranges.flatMap((range) =>
      others.flatMap(([what, networks]) =>
        networks
          .filter((network) => overlaps(range, network))
          .map(
            (network): Finding => ({
              severity: "error",
              seen: `the range of ClusterIPs ${formatPrefix(range)} overlaps ${what} ${formatPrefix(network)}`,
              why: "connections to an address in both ranges are dropped, unless a Service has the address",
              advice:
                "configure another range for Services (ServiceCIDR, or the API server's --service-cluster-ip-range)",
            }),
          ),
      ),
    );
  },
};

/**
 * kube-proxy's minimum of entries, for each processor and in total (its defaults --conntrack-max-per-core and
 * --conntrack-min).
 */
const ROOM_PER_PROCESSOR = 32_768;
const LEAST_ROOM = 131_072;

export const serviceRoom: Check = {
  name: "service-room",
  group: "services",
  about: "the connection tracking table is at least as large as kube-proxy would make it (nf_conntrack_max)",
  judge({ services, sysctl }) {
    if (!isProxy(services)) return [];
    const name = ["net", "netfilter", "nf_conntrack_max"];
    const max = Number(sysctl(name));
    const wanted = Math.max(LEAST_ROOM, ROOM_PER_PROCESSOR * services.processors);
    if (!(max > 0) || max >= wanted) return [];
    const why = "each connection to a Service takes an entry; once the table is full, the kernel drops new connections";
    return [{ ...wrong(name, String(max), String(wanted), why), severity: "note" }];
  },
};

export const serviceClaims: Check = {
  name: "service-claims",
  group: "services",
  about: "every Service gets the addresses that it requests, and its objects are consistent",
  judge({ services: { page }, command }) {
    const all = page?.services ?? [];
    const lost = all.flatMap(({ service, lost: claims = [] }) =>
      claims.map((claim) => `${service} does not get ${placeText(claim)}, which belongs to ${claim.winner}`),
    );
    const refused = all.flatMap(({ service, refused: claims = [] }) =>
      claims.map((claim) => `${service} is not allowed to use ${placeText(claim)}: ${claim.reason}`),
    );
    const problems = all.flatMap(({ service, problems: told = [] }) => told.map((problem) => `${service}: ${problem}`));
    const found = [...lost, ...refused, ...problems];
    if (found.length === 0) return [];
    const rest = found.length > NAMED ? `; and ${found.length - NAMED} more` : "";
    return [
      {
        severity: "warning",
        seen: `${found.slice(0, NAMED).join("; ")}${rest}`,
        why: "connections to these addresses go to another Service, or fail",
        run: `${command} services --no-endpoints`,
        advice: "correct the Service that is wrong",
      },
    ];
  },
};

export const externalIps: Check = {
  name: "external-ips",
  group: "services",
  about: "externalIPs of Services cannot take over addresses outside the cluster (CVE-2020-8554)",
  judge({ services: { page } }) {
    if (page?.node?.externalIPs !== "all") return [];
    const users = page.services.filter(({ frontends = [] }) => frontends.some(({ kind }) => kind === "ExternalIP"));
    const named = users.slice(0, NAMED).map(({ service }) => service);
    return [
      {
        severity: users.length > 0 ? "warning" : "note",
        seen: `weftd has --external-ips all${named.length === 0 ? "" : `, and these Services have externalIPs: ${named.join(", ")}${users.length > NAMED ? " and others" : ""}`}`,
        why: "a user who may create Services can redirect this node's connections to any address to their own pods (CVE-2020-8554)",
        advice:
          "start weftd with --external-ips none, or with a list of your own networks; or reject spec.externalIPs by an admission policy",
      },
    ];
  },
};

/** True if weftd should program Services on this node. */
function isProxy({ page, hasTable }: Facts["services"]): boolean {
  return page !== undefined || hasTable;
}

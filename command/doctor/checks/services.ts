/** Services: weftd in kube-proxy's place, and what stands in its way. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import { PROXY_HEALTH_PORT, SERVICES_TABLE } from "../../../pkg/footprint.ts";
import { formatPrefix, overlaps, type Prefix, parsePrefix } from "../../../pkg/ip/prefix.ts";
import { placeText } from "../../node/services-page.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";
import { wrong } from "./kernel.ts";

const TABLE = `inet ${SERVICES_TABLE}`;
/** So many are named in one finding. */
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
  about: "what the kernel holds for Services is what weftd wants",
  judge({ services: { page, hasTable } }) {
    if (page === undefined || !page.state.isOurs) return [];
    const { isSynced, lastSync, warnings } = page.state;
    const why = "endpoints that come or go are not followed";
    const told = warnings.map((warning): Finding => {
      return { severity: "warning", seen: `weftd says of Services: ${warning}`, why, advice: "mend what it names" };
    });
    if (lastSync?.error !== undefined)
      return [
        { severity: "error", seen: `weftd failed to program Services: ${lastSync.error}`, why, advice: "read its log" },
        ...told,
      ];
    if (!isSynced)
      return [
        {
          severity: "warning",
          seen: "weftd waits for Services and EndpointSlices",
          why: "nothing was programmed since it started",
          advice: "look whether it reaches the API server",
        },
        ...told,
      ];
    if (hasTable) return told;
    const gone = "no Service is reached from this node and its pods";
    return [{ severity: "error", seen: `the table ${TABLE} is missing`, why: gone, advice: "restart weftd" }, ...told];
  },
};

export const staleServices: Check = {
  name: "stale-services",
  group: "services",
  about: `the table ${TABLE} has a weftd that keeps it up to date`,
  judge({ services, run, command }) {
    const keeper = keeperOf(services, run.isAlive);
    if (!services.hasTable || keeper === undefined) return [];
    return [
      {
        severity: "error",
        seen: `the table ${TABLE} stands, and ${keeper.state}`,
        why: "connections go to endpoints that may be gone, and its rules come before kube-proxy's",
        run: `${command} cleanup --services`,
        advice: keeper.advice,
      },
    ];
  },
};

/** Why nothing keeps the table up to date, and when to remove it; undefined: weftd keeps it. */
function keeperOf({ page, isOthers }: Facts["services"], isAlive: boolean) {
  if (!isAlive)
    return {
      state: "no weftd lives",
      advice: "only where weftd is not to come back: else start weftd, which takes the table over as it stands",
    };
  if (isOthers) return { state: "weftd has --service-proxy none", advice: "once kube-proxy runs here again" };
  if (page?.state.isOurs === false)
    return {
      state: "weftd waits for the end of the process that has kube-proxy's health port",
      advice:
        "where kube-proxy is to serve this node: else stop kube-proxy, and weftd takes the table over as it stands",
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
      "take kube-proxy off this node (its DaemonSet: kubectl -n kube-system patch ds kube-proxy, with a nodeSelector)";
    if (proxies.length > 0)
      return [
        {
          severity: "error",
          seen: `kube-proxy runs (process ${proxies.join(", ")}), and weftd has --service-proxy ${page.state.mode}`,
          why: page.state.isOurs
            ? "two programs translate the same connections: which one does depends on their priorities"
            : "weftd programs no Services while kube-proxy runs",
          advice: remove,
        },
      ];
    if (!page.state.isOurs && isHealthPortTaken)
      return [
        {
          severity: "error",
          seen: `127.0.0.1:${PROXY_HEALTH_PORT} is answered by another process`,
          why: "weftd takes it for kube-proxy, and programs no Services",
          run: `ss -ltnp sport = :${PROXY_HEALTH_PORT}`,
          advice: "stop what it names",
        },
      ];
    if (proxyRules.length === 0 || !page.state.isOurs) return [];
    return [
      {
        severity: "warning",
        seen: `kube-proxy's rules are left: ${proxyRules.join(", ")}`,
        why: "connections that weftd has no frontend for go to endpoints that may be gone",
        advice: "weftd removes them once its own stand: read its log, and restart it",
      },
    ];
  },
};

export const serviceRanges: Check = {
  name: "service-ranges",
  group: "services",
  about: "the ranges of ClusterIPs are apart from pods' networks and the underlay's",
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
              why: "connections to addresses in both that no Service has are dropped",
              advice:
                "give the cluster another range for Services (ServiceCIDR, or the API server's --service-cluster-ip-range)",
            }),
          ),
      ),
    );
  },
};

/** kube-proxy's own least, for each processor and in all (SERVICES: its defaults). */
const ROOM_PER_PROCESSOR = 32_768;
const LEAST_ROOM = 131_072;

export const serviceRoom: Check = {
  name: "service-room",
  group: "services",
  about: "the connection table is as large as kube-proxy would have made it (nf_conntrack_max)",
  judge({ services, sysctl }) {
    if (!isProxy(services)) return [];
    const name = ["net", "netfilter", "nf_conntrack_max"];
    const max = Number(sysctl(name));
    const wanted = Math.max(LEAST_ROOM, ROOM_PER_PROCESSOR * services.processors);
    if (!(max > 0) || max >= wanted) return [];
    const why = "each connection to a Service takes an entry, and new ones are dropped once the table is full";
    return [{ ...wrong(name, String(max), String(wanted), why), severity: "note" }];
  },
};

export const serviceClaims: Check = {
  name: "service-claims",
  group: "services",
  about: "every Service has the addresses that it asks for, and its objects fit together",
  judge({ services: { page }, command }) {
    const all = page?.services ?? [];
    const lost = all.flatMap(({ service, lost: claims = [] }) =>
      claims.map((claim) => `${service} has lost ${placeText(claim)} to ${claim.winner}`),
    );
    const refused = all.flatMap(({ service, refused: claims = [] }) =>
      claims.map((claim) => `${service} may not have ${placeText(claim)}: ${claim.reason}`),
    );
    const problems = all.flatMap(({ service, problems: told = [] }) => told.map((problem) => `${service}: ${problem}`));
    const found = [...lost, ...refused, ...problems];
    if (found.length === 0) return [];
    const rest = found.length > NAMED ? `; and ${found.length - NAMED} more` : "";
    return [
      {
        severity: "warning",
        seen: `${found.slice(0, NAMED).join("; ")}${rest}`,
        why: "connections there go to another Service, or nowhere",
        run: `${command} services --no-endpoints`,
        advice: "change the Service that is wrong",
      },
    ];
  },
};

export const externalIps: Check = {
  name: "external-ips",
  group: "services",
  about: "externalIPs of Services cannot take over addresses outside of the cluster (CVE-2020-8554)",
  judge({ services: { page } }) {
    if (page?.node?.externalIPs !== "all") return [];
    const users = page.services.filter(({ frontends = [] }) => frontends.some(({ kind }) => kind === "ExternalIP"));
    const named = users.slice(0, NAMED).map(({ service }) => service);
    return [
      {
        severity: users.length > 0 ? "warning" : "note",
        seen: `weftd has --external-ips all${named.length === 0 ? "" : `, and these Services have externalIPs: ${named.join(", ")}${users.length > NAMED ? " and others" : ""}`}`,
        why: "a user who may create Services can lead this node's connections to any address to pods of their own (CVE-2020-8554)",
        advice:
          "start weftd with --external-ips none, or with the networks that are yours; or refuse spec.externalIPs by admission",
      },
    ];
  },
};

/** weftd is to program Services here. */
function isProxy({ page, hasTable }: Facts["services"]): boolean {
  return page !== undefined || hasTable;
}

/** weftd's flags for what stands around Services in kube-proxy's place; most have kube-proxy's names and meanings. */
import { InvalidArgumentError, type Option } from "commander";
import { PROXY_HEALTH_PORT, PROXY_METRICS_LISTEN } from "../pkg/footprint.ts";
import { flag, type ListenAddress, parseBoolean, parseListenAddress } from "./flag.ts";

export interface ProxyPlaceOptions extends ConntrackOptions {
  /** Of /healthz and /livez. */
  readonly healthzBindAddress: ListenAddress | "none";
  /** Of kube-proxy's metrics. */
  readonly proxyMetricsBindAddress: ListenAddress | "none";
  /** Of so many Services, those with most connections, connections are counted one by one. 0: of none. */
  readonly serviceCounters: number;
}

/** Times are in seconds; undefined: not given. 0 leaves a setting alone. */
export interface ConntrackOptions {
  /** Flows that the table has room for at least, for each processor. */
  readonly conntrackMaxPerCore: number;
  /** And in all. */
  readonly conntrackMin: number;
  readonly conntrackTcpTimeoutEstablished: number | undefined;
  readonly conntrackTcpTimeoutCloseWait: number | undefined;
  readonly conntrackUdpTimeout: number | undefined;
  readonly conntrackUdpTimeoutStream: number | undefined;
  readonly conntrackTcpBeLiberal: boolean;
}

export function proxyPlaceFlags(): readonly Option[] {
  const { host, port } = PROXY_METRICS_LISTEN;
  return [
    flag(
      "--healthz-bind-address <host:port>",
      "WEFTD_HEALTHZ_BIND_ADDRESS",
      "with --service-proxy: where load balancers ask for this node's health, :PORT for all addresses, none to serve nothing",
    )
      .argParser(parseListenAddressOrNone)
      .default({ host: undefined, port: PROXY_HEALTH_PORT } satisfies ListenAddress, `:${PROXY_HEALTH_PORT}`),
    flag(
      "--proxy-metrics-bind-address <host:port>",
      "WEFTD_PROXY_METRICS_BIND_ADDRESS",
      "with --service-proxy: where kube-proxy's metrics and /proxyMode are served, none to serve nothing",
    )
      .argParser(parseListenAddressOrNone)
      .default(PROXY_METRICS_LISTEN, `${host}:${port}`),
    flag(
      "--service-counters <number>",
      "WEFTD_SERVICE_COUNTERS",
      "how many Services, those with most connections, have a counter of their own in /metrics; 0 for none",
    )
      .argParser(parseCount)
      .default(100),
    flag(
      "--conntrack-max-per-core <number>",
      "WEFTD_CONNTRACK_MAX_PER_CORE",
      "with --service-proxy: raise nf_conntrack_max to this number for each processor where it is less; 0 leaves it alone",
    )
      .argParser(parseCount)
      .default(32_768),
    flag(
      "--conntrack-min <number>",
      "WEFTD_CONNTRACK_MIN",
      "least nf_conntrack_max that --conntrack-max-per-core raises it to",
    )
      .argParser(parseCount)
      .default(131_072),
    timeout(
      "established",
      "TCP connections that no packet is seen of are forgotten; 0s leaves it alone (default: 24h in place of the kernel's 120h)",
    ),
    timeout(
      "close-wait",
      "TCP connections that one side has closed are forgotten; 0s leaves it alone (default: 1h in place of the kernel's 60s)",
    ),
    udpTimeout("", "UDP flows that have seen no answer"),
    udpTimeout("-stream", "UDP flows that have seen answers"),
    flag(
      "--conntrack-tcp-be-liberal [boolean]",
      "WEFTD_CONNTRACK_TCP_BE_LIBERAL",
      "with --service-proxy: connections go on after TCP packets outside of the window (nf_conntrack_tcp_be_liberal)",
    )
      .preset("true")
      .argParser(parseBoolean)
      .default(false),
  ];
}

function timeout(state: string, what: string): Option {
  const twin = `WEFTD_CONNTRACK_TCP_TIMEOUT_${state.toUpperCase().replace("-", "_")}`;
  return flag(
    `--conntrack-tcp-timeout-${state} <duration>`,
    twin,
    `with --service-proxy: time after which ${what}`,
  ).argParser(parseSeconds);
}

function udpTimeout(suffix: string, what: string): Option {
  const twin = `WEFTD_CONNTRACK_UDP_TIMEOUT${suffix.toUpperCase().replace("-", "_")}`;
  return flag(
    `--conntrack-udp-timeout${suffix} <duration>`,
    twin,
    `with --service-proxy: time after which ${what} are forgotten (default: as it is)`,
  ).argParser(parseSeconds);
}

function parseListenAddressOrNone(text: string): ListenAddress | "none" {
  return text === "none" ? text : parseListenAddress(text);
}

function parseCount(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError("Expected a whole number of 0 or more.");
  return Number(text);
}

const UNIT_SECONDS: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1 };

/** A duration as kube-proxy takes it, such as 24h, 1h30m or 90s, in seconds. */
export function parseSeconds(text: string): number {
  if (!/^(?:\d{1,9}[hms])+$/.test(text) && text !== "0")
    throw new InvalidArgumentError("Expected a duration such as 24h, 1h30m or 90s; 0s leaves the setting alone.");
  const parts = [...text.matchAll(/(\d+)([hms])/g)];
  return parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (UNIT_SECONDS[unit] ?? 0), 0);
}

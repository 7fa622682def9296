/** weftd's flags for the tasks of kube-proxy around Services. Most have kube-proxy's names and meanings. */
import { InvalidArgumentError, type Option } from "commander";
import { PROXY_HEALTH_PORT, PROXY_METRICS_LISTEN } from "../pkg/footprint.ts";
import { flag, type ListenAddress, parseBoolean, parseListenAddress } from "./flag.ts";

export interface ProxyPlaceOptions extends ConntrackOptions {
  /** The address of /healthz and /livez. */
  readonly healthzBindAddress: ListenAddress | "none";
  /** The address of kube-proxy's metrics. */
  readonly proxyMetricsBindAddress: ListenAddress | "none";
  /** The number of Services, those with the most connections, that have a separate connection counter. 0 means none. */
  readonly serviceCounters: number;
}

/** Times are in seconds. Undefined means not given; 0 leaves a setting unchanged. */
export interface ConntrackOptions {
  /** The least size of the conntrack table, for each processor. */
  readonly conntrackMaxPerCore: number;
  /** The least size of the conntrack table in total. */
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
      "with --service-proxy: serve this node's health for load balancers at this address; :PORT for all addresses, none for no server",
    )
      .argParser(parseListenAddressOrNone)
      .default({ host: undefined, port: PROXY_HEALTH_PORT } satisfies ListenAddress, `:${PROXY_HEALTH_PORT}`),
    flag(
      "--proxy-metrics-bind-address <host:port>",
      "WEFTD_PROXY_METRICS_BIND_ADDRESS",
      "with --service-proxy: serve kube-proxy's metrics and /proxyMode at this address; none for no server",
    )
      .argParser(parseListenAddressOrNone)
      .default(PROXY_METRICS_LISTEN, `${host}:${port}`),
    flag(
      "--service-counters <number>",
      "WEFTD_SERVICE_COUNTERS",
      "count connections separately in /metrics for this many Services, those with the most connections; 0 for none",
    )
      .argParser(parseCount)
      .default(100),
    flag(
      "--conntrack-max-per-core <number>",
      "WEFTD_CONNTRACK_MAX_PER_CORE",
      "with --service-proxy: raise nf_conntrack_max to at least this number times the number of processors; 0 leaves it unchanged",
    )
      .argParser(parseCount)
      .default(32_768),
    flag(
      "--conntrack-min <number>",
      "WEFTD_CONNTRACK_MIN",
      "with --service-proxy: raise nf_conntrack_max to at least this number, unless --conntrack-max-per-core is 0",
    )
      .argParser(parseCount)
      .default(131_072),
    timeout(
      "established",
      "an idle established TCP connection is removed from conntrack; 0s leaves it unchanged (default: 24h instead of the kernel's 120h)",
    ),
    timeout(
      "close-wait",
      "a TCP connection that one side has closed is removed from conntrack; 0s leaves it unchanged (default: 1h instead of the kernel's 60s)",
    ),
    udpTimeout("", "a UDP flow without replies"),
    udpTimeout("-stream", "a UDP flow with replies"),
    flag(
      "--conntrack-tcp-be-liberal [boolean]",
      "WEFTD_CONNTRACK_TCP_BE_LIBERAL",
      "with --service-proxy: accept TCP packets outside the window (nf_conntrack_tcp_be_liberal)",
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
    `with --service-proxy: set the time after which ${what}`,
  ).argParser(parseSeconds);
}

function udpTimeout(suffix: string, what: string): Option {
  const twin = `WEFTD_CONNTRACK_UDP_TIMEOUT${suffix.toUpperCase().replace("-", "_")}`;
  return flag(
    `--conntrack-udp-timeout${suffix} <duration>`,
    twin,
    `with --service-proxy: set the time after which ${what} is removed from conntrack (default: unchanged)`,
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

/** Parses a duration in kube-proxy's format, such as 24h, 1h30m or 90s. Returns seconds. */
export function parseSeconds(text: string): number {
  if (!/^(?:\d{1,9}[hms])+$/.test(text) && text !== "0")
    throw new InvalidArgumentError("Expected a duration such as 24h, 1h30m or 90s; 0s leaves the setting unchanged.");
  const parts = [...text.matchAll(/(\d+)([hms])/g)];
  return parts.reduce((sum, [, count, unit = ""]) => sum + Number(count) * (UNIT_SECONDS[unit] ?? 0), 0);
}

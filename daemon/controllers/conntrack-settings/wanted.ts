/**
 * Computes which connection tracking settings of the kernel weftd must change, and their values. Pure.
 *
 * kube-proxy sets these for the entire node each time it starts. weft must not give a node that used kube-proxy a smaller
 * table or shorter times than before, and must not undo an operator's choices:
 * - The table only ever grows.
 * - A time without a flag is changed only if it has the kernel's default.
 * - A time with a flag gets the flag's value.
 */
import type { SysctlName } from "../../../pkg/kernel/sysctl.ts";
import type { ConntrackOptions } from "../../proxy-place-options.ts";

/** kube-proxy's upper limit for the value computed from the number of processors (pkg/proxy/conntrack/sysctls.go). */
const MOST_SCALED = 1_048_576;

/** nf_conntrack_max divided by the number of hash table buckets, as in kube-proxy. */
const FLOWS_PER_BUCKET = 4;

const NAMES = {
  max: "nf_conntrack_max",
  buckets: "nf_conntrack_buckets",
  established: "nf_conntrack_tcp_timeout_established",
  closeWait: "nf_conntrack_tcp_timeout_close_wait",
  udp: "nf_conntrack_udp_timeout",
  udpStream: "nf_conntrack_udp_timeout_stream",
  liberal: "nf_conntrack_tcp_be_liberal",
  timestamp: "nf_conntrack_timestamp",
} as const;
export type ConntrackSetting = keyof typeof NAMES;

export const CONNTRACK_SETTINGS = Object.keys(NAMES) as readonly ConntrackSetting[];

/** Returns the name of a setting such as `/proc/sys/net/netfilter/nf_conntrack_max`. */
export function conntrackSysctl(setting: ConntrackSetting): SysctlName {
  return ["net", "netfilter", NAMES[setting]];
}

/** The kernel's and kube-proxy's defaults, in seconds (net/netfilter/nf_conntrack_proto_tcp.c). */
const TIMES = {
  established: { kernel: 432_000, proxy: 86_400 },
  closeWait: { kernel: 60, proxy: 3600 },
} as const;

/**
 * Values by setting; undefined if the kernel does not have the setting, for example without the module nf_conntrack.
 */
export type ConntrackValues = Readonly<Record<ConntrackSetting, number | undefined>>;

export interface WantedSetting {
  readonly setting: ConntrackSetting;
  readonly value: number;
}

/** Returns the settings whose values must change. */
export function wantedSettings(options: ConntrackOptions, present: ConntrackValues, processors: number) {
  const room = tableSize(options, processors);
  const wanted: Partial<Record<ConntrackSetting, number | undefined>> = {
    max: atLeast(present.max, room),
    buckets: atLeast(present.buckets, Math.floor(room / FLOWS_PER_BUCKET)),
    established: time(options.conntrackTcpTimeoutEstablished, present.established, TIMES.established),
    closeWait: time(options.conntrackTcpTimeoutCloseWait, present.closeWait, TIMES.closeWait),
    udp: options.conntrackUdpTimeout || undefined,
    udpStream: options.conntrackUdpTimeoutStream || undefined,
    liberal: options.conntrackTcpBeLiberal ? 1 : undefined,
  };
  return CONNTRACK_SETTINGS.flatMap((setting): WantedSetting[] => {
    const value = wanted[setting];
    const isDifferent = value !== undefined && present[setting] !== undefined && present[setting] !== value;
    return isDifferent ? [{ setting, value }] : [];
  });
}

/**
 * Returns the setting by which the kernel records the beginning of each flow, if it must change. weftd needs it while it
 * enforces policies: it then knows which flows began while another program had removed the policies' table.
 */
export function timestampSetting({ timestamp }: Pick<ConntrackValues, "timestamp">): WantedSetting[] {
  return timestamp === 0 ? [{ setting: "timestamp", value: 1 }] : [];
}

/** Returns the least number of flows for which the table must have space; 0 leaves it unchanged. */
function tableSize({ conntrackMaxPerCore, conntrackMin }: ConntrackOptions, processors: number): number {
  if (conntrackMaxPerCore === 0) return 0;
  return Math.max(conntrackMin, Math.min(conntrackMaxPerCore * processors, MOST_SCALED));
}

function atLeast(present: number | undefined, value: number): number | undefined {
  return present !== undefined && present < value ? value : undefined;
}

function time(
  given: number | undefined,
  present: number | undefined,
  defaults: { readonly kernel: number; readonly proxy: number },
): number | undefined {
  if (given !== undefined) return given || undefined;
  return present === defaults.kernel ? defaults.proxy : undefined;
}

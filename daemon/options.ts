/**
 * weftd's command line. Every flag has an environment twin; a flag beats its twin.
 */

import { resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import {
  DEFAULT_CNI_CONF_DIR,
  DEFAULT_NET_CONF,
  DEFAULT_RUN_DIR,
  DEFAULT_STATE_DIR,
  METRICS_LISTEN,
} from "../pkg/footprint.ts";
import { type Address, formatAddress } from "../pkg/ip/address.ts";
import type { Prefix } from "../pkg/ip/prefix.ts";
import type { AttachPlugin } from "../pkg/reconcile/pod-ends.ts";
import { PROC_SYS } from "./core/drivers/settings-folder.ts";
import { flag, type ListenAddress, parseListenAddress, parseNetworks, parseOneAddress } from "./flag.ts";
import { type OutsideOptions, outsideFlags, outsideMistake } from "./outside-options.ts";
import { type ProxyPlaceOptions, proxyPlaceFlags } from "./proxy-place-options.ts";
import { type ServiceOptions, serviceFlags } from "./service-options.ts";

/** Which interface is the underlay's; nothing given: found by the Node's address. */
export interface InterfaceOptions {
  /** Its name, or an alternative one. */
  readonly iface: string | undefined;
  /** It has an address in one of these. */
  readonly ifaceCidr: readonly Prefix[];
  /** Its name, or one of its addresses, matches. */
  readonly ifaceRegex: RegExp | undefined;
  /** Packets to this address leave by it, as the main routing table has it. */
  readonly ifaceCanReach: Address | undefined;
}

export interface Options extends InterfaceOptions, ServiceOptions, ProxyPlaceOptions, OutsideOptions {
  /** Undefined: the service account of the pod that weftd runs in. */
  readonly kubeconfig: string | undefined;
  /** URLs, in the order of preference; empty: the kubeconfig's, or the pod's environment's. */
  readonly apiserver: readonly string[];
  /** Path of a file with all nodes, instead of an API server. */
  readonly nodes: string | undefined;
  readonly nodeName: string;
  /** Path of net-conf.json. */
  readonly netConf: string;
  /** What this node tells its peers to reach it by; at most one of a family. */
  readonly publicIp: readonly Address[];
  /** What ties a pod to the node. */
  readonly attach: AttachPlugin;
  /** Networks beside the pods' own that see a pod's own address. */
  readonly nonMasqueradeCidrs: readonly Prefix[];
  /** Whose VXLAN packets are taken. */
  readonly vxlanFrom: "nodes" | "anybody";
  readonly cniConfDir: string;
  readonly runDir: string;
  /** What outlives a reboot. */
  readonly stateDir: string;
  /** The folder whose `net` holds this node's kernel settings. */
  readonly procSys: string;
  readonly metricsAddress: ListenAddress;
  readonly logLevel: LogLevel;
}

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const EXAMPLES = `
Examples:
  weftd                                       in a pod of a DaemonSet with NODE_NAME set
  weftd --kubeconfig /etc/weft/kubeconfig --node-name n1
  weftd --apiserver https://192.0.2.10:6443,https://192.0.2.11:6443
                                              without kube-proxy, a new node reaches no ClusterIP
  weftd --nodes /etc/weft/nodes.yaml --node-name n1
                                              without Kubernetes: each host has the same file
  weftd --iface eth1                          the underlay is eth1, whatever the Node's InternalIP says
  weftd --iface-cidr 10.0.0.0/8,fd00::/8      the underlay is the interface with an address of these networks
  weftd --service-proxy nftables              Services are weftd's, too: no kube-proxy runs on the node
  weftd translate-kube-proxy-config FILE      prints a kube-proxy's configuration as these flags, and changes nothing
  weftd --service-proxy nftables --no-pods --kubeconfig /etc/weft/kubeconfig
                                              on a host outside the cluster, which then reaches ClusterIPs
  weftd --public-ip 203.0.113.7               peers reach this node through a NAT, by its Node's ExternalIP

Of --iface, --iface-cidr, --iface-regex and --iface-can-reach the first, in this order, that finds an interface decides.

While it runs: /healthz, /readyz (why not, in words), /metrics and, for this node alone, /debug/state at
--metrics-address.
Stopping weftd, even by SIGKILL, leaves the data path and the conflist as they are.`;

/** Reads arguments (without the program's name) and environment. On --help or a bad value it prints and exits. */
export function parseOptions(args: readonly string[]): Options {
  const command = optionsCommand().parse([...args], { from: "user" });
  const options = command.opts<Options>();
  const mistake = outsideMistake(options);
  if (mistake !== undefined) command.error(`error: ${mistake}`);
  return options;
}

/** The command, apart from `parseOptions` so that a test can keep it from exiting. */
export function optionsCommand(): Command {
  const command = new Command("weftd")
    .description(
      "Connects this node's pods to those of all other nodes: watches Nodes, programs routes and VXLAN peers.",
    )
    .addOption(flag("--kubeconfig <file>", "WEFTD_KUBECONFIG", "access to the API server (default: in-cluster)"))
    .addOption(
      flag(
        "--apiserver <urls>",
        "WEFTD_APISERVER",
        "URLs of API servers, in place of the kubeconfig's or the pod environment's; commas between",
      )
        .argParser(parseUrls)
        .default([], "the kubeconfig's, else KUBERNETES_SERVICE_HOST"),
    )
    .addOption(
      flag("--nodes <file>", "WEFTD_NODES", "all nodes in YAML, watched, for hosts without Kubernetes").conflicts([
        "kubeconfig",
        "apiserver",
      ]),
    )
    .addOption(flag("--node-name <name>", "NODE_NAME", "name of this node's Node object").makeOptionMandatory())
    .addOption(
      flag("--net-conf <file>", "WEFTD_NET_CONF", "network configuration, in flannel's form").default(DEFAULT_NET_CONF),
    )
    .addOption(
      flag(
        "--iface <name>",
        "WEFTD_IFACE",
        "interface, by its name or an alternative one, that carries traffic between nodes (default: the one that holds the Node's InternalIP, else the default route's)",
      ),
    )
    .addOption(
      flag(
        "--iface-cidr <networks>",
        "WEFTD_IFACE_CIDR",
        "that interface is one with an address in these; commas between",
      )
        .argParser(parseNetworks)
        .default([], "any"),
    )
    .addOption(
      flag(
        "--iface-regex <pattern>",
        "WEFTD_IFACE_REGEX",
        "that interface is the first whose name, else one of whose addresses, matches this regular expression",
      ).argParser(parseRegex),
    )
    .addOption(
      flag(
        "--iface-can-reach <address>",
        "WEFTD_IFACE_CAN_REACH",
        "that interface is the one that the main routing table sends this address's packets by",
      ).argParser(parseOneAddress),
    )
    .addOption(
      flag(
        "--public-ip <addresses>",
        "WEFTD_PUBLIC_IP",
        "address that peers reach this node by; one IPv4, one IPv6, or both with a comma between",
      )
        .argParser(parsePublicIp)
        .default([], "the underlay's own"),
    )
    .addOption(
      flag(
        "--attach <plugin>",
        "WEFTD_ATTACH",
        "what ties pods to the node; ptp has no limit of 1,024 pods as a bridge has",
      )
        .choices(["bridge", "ptp"])
        .default("bridge"),
    )
    .addOption(
      flag(
        "--non-masquerade-cidrs <networks>",
        "WEFTD_NON_MASQUERADE_CIDRS",
        "networks that pods reach under their own addresses, since they know the way back; commas between",
      )
        .argParser(parseNetworks)
        .default([], "the cluster's pods alone"),
    )
    .addOption(
      flag(
        "--vxlan-from <whom>",
        "WEFTD_VXLAN_FROM",
        "whose VXLAN packets are taken; nodes are known by the addresses of their Node objects",
      )
        .choices(["nodes", "anybody"])
        .default("nodes"),
    )
    .addOption(
      flag("--cni-conf-dir <dir>", "WEFTD_CNI_CONF_DIR", "where the runtime looks for conflists").default(
        DEFAULT_CNI_CONF_DIR,
      ),
    )
    .addOption(
      flag("--run-dir <dir>", "WEFTD_RUN_DIR", "node table and sign of life, read by the executables")
        // The conflist names it, and its readers run elsewhere.
        .argParser((path) => resolve(path))
        .default(DEFAULT_RUN_DIR),
    )
    .addOption(
      flag(
        "--state-dir <dir>",
        "WEFTD_STATE_DIR",
        "directory of what weftd keeps over a reboot: addresses of API servers",
      )
        .argParser((path) => resolve(path))
        .default(DEFAULT_STATE_DIR),
    )
    .addOption(
      flag(
        "--proc-sys <dir>",
        "WEFTD_PROC_SYS",
        "where kernel settings are written: in a container, the folder in which the host's /proc/sys/net is mounted",
      )
        .argParser((path) => resolve(path))
        .default(PROC_SYS),
    )
    .addOption(
      flag(
        "--metrics-address <host:port>",
        "WEFTD_METRICS_ADDRESS",
        "where health and metrics are served; :PORT for all addresses",
      )
        .argParser(parseListenAddress)
        .default(METRICS_LISTEN, `${METRICS_LISTEN.host}:${METRICS_LISTEN.port}`),
    )
    .addOption(
      flag("--log-level <level>", "WEFTD_LOG_LEVEL", "least severe lines to log").choices(LOG_LEVELS).default("info"),
    )
    .allowExcessArguments(false)
    .showHelpAfterError("(weftd --help explains the flags)")
    .addHelpText("after", EXAMPLES);
  for (const option of [...serviceFlags(), ...proxyPlaceFlags(), ...outsideFlags()]) command.addOption(option);
  return command;
}

/** "192.0.2.1", "2001:db8::1", or one of each, separated by a comma. */
export function parsePublicIp(text: string): readonly Address[] {
  const addresses = text.split(",").map(parseOneAddress);
  for (const family of [4, 6] as const) {
    const ofFamily = addresses.filter((address) => address.family === family);
    if (ofFamily.length > 1) {
      throw new InvalidArgumentError(
        `Expected one IPv${family} address, got ${ofFamily.map(formatAddress).join(" and ")}.`,
      );
    }
  }
  return addresses;
}

/** "https://192.0.2.1:6443,https://[2001:db8::1]:6443" */
export function parseUrls(text: string): readonly string[] {
  return text.split(",").map((part) => {
    const url = URL.parse(part.trim());
    if (url === null || !/^https?:$/.test(url.protocol) || url.search !== "" || url.username !== "") {
      throw new InvalidArgumentError(`"${part}": expected a URL such as https://192.0.2.1:6443.`);
    }
    return part.trim();
  });
}

export function parseRegex(text: string): RegExp {
  try {
    return new RegExp(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

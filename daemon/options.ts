/** weftd's command line. Every flag has an environment variable; the flag overrides it. */

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
import { type PolicyOptions, policyFlags, policyMistake } from "./policy-options.ts";
import { type ProxyPlaceOptions, proxyPlaceFlags } from "./proxy-place-options.ts";
import { type ServiceOptions, serviceFlags } from "./service-options.ts";

/** Selects the underlay's interface. If none is given, the Node's address selects it. */
export interface InterfaceOptions {
  /** The interface's name, or an alternative name of it. */
  readonly iface: string | undefined;
  /** The interface has an address in one of these networks. */
  readonly ifaceCidr: readonly Prefix[];
  /** Matches the interface's name or one of its addresses. */
  readonly ifaceRegex: RegExp | undefined;
  /** The main routing table sends packets for this address through the interface. */
  readonly ifaceCanReach: Address | undefined;
}

export interface Options extends InterfaceOptions, ServiceOptions, PolicyOptions, ProxyPlaceOptions, OutsideOptions {
  /** Undefined selects the service account of weftd's pod. */
  readonly kubeconfig: string | undefined;
  /** URLs, in order of preference. If empty, the kubeconfig or the pod's environment names the server. */
  readonly apiserver: readonly string[];
  /** The path of a file with all nodes, instead of an API server. */
  readonly nodes: string | undefined;
  readonly nodeName: string;
  /** The path of net-conf.json. */
  readonly netConf: string;
  /** The addresses that this node announces to its peers; at most one of each family. */
  readonly publicIp: readonly Address[];
  /** The plugin that attaches pods to the node. */
  readonly attach: AttachPlugin;
  /** Networks besides the pods' own to which pods send with their own addresses. */
  readonly nonMasqueradeCidrs: readonly Prefix[];
  /** The senders whose VXLAN packets are accepted. */
  readonly vxlanFrom: "nodes" | "anybody";
  readonly cniConfDir: string;
  readonly runDir: string;
  /** The directory for state that outlives a reboot. */
  readonly stateDir: string;
  /** The directory whose `net` has this node's kernel settings. */
  readonly procSys: string;
  readonly metricsAddress: ListenAddress;
  readonly logLevel: LogLevel;
}

const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const EXAMPLES = `
Examples:
  weftd                                       run in a DaemonSet's pod with NODE_NAME set
  weftd --kubeconfig /etc/weft/kubeconfig --node-name n1
  weftd --apiserver https://192.0.2.10:6443,https://192.0.2.11:6443
                                              without kube-proxy: a new node cannot reach ClusterIPs
  weftd --nodes /etc/weft/nodes.yaml --node-name n1
                                              without Kubernetes: each host has the same file
  weftd --iface eth1                          use eth1 as underlay, regardless of the Node's InternalIP
  weftd --iface-cidr 10.0.0.0/8,fd00::/8      use the interface with an address in these networks
  weftd --service-proxy nftables              program Services, too, on a node without kube-proxy
  weftd --network-policy enforce              drop what NetworkPolicies deny, in a cluster that only audited them
  weftd translate-kube-proxy-config FILE      print a kube-proxy's configuration as these flags
  weftd --service-proxy nftables --no-pods --kubeconfig /etc/weft/kubeconfig
                                              give a host outside the cluster access to ClusterIPs
  weftd --public-ip 203.0.113.7               make peers use the Node's ExternalIP, behind NAT

weftd tries --iface, --iface-cidr, --iface-regex and --iface-can-reach in this order and uses the first interface found.

NetworkPolicies need an API server: with --nodes or --no-pods they are off. Before --network-policy enforce in a cluster
that has run without, weft policies --preview lists the connections that would be denied.

weftd serves /healthz, /readyz (with reasons), /metrics and, for clients on this node only, /debug/state at
--metrics-address.
If weftd stops, even by SIGKILL, the data path and the conflist stay in place.`;

/** Parses arguments (without the program's name) and environment. Prints and exits on --help or an invalid value. */
export function parseOptions(args: readonly string[]): Options {
  const command = optionsCommand().parse([...args], { from: "user" });
  const options = command.opts<Options>();
  const mistake = outsideMistake(options) ?? policyMistake(options);
  if (mistake !== undefined) command.error(`error: ${mistake}`);
  return options;
}

/** Returns the command. It is separate from `parseOptions` so that a test can keep it from exiting. */
export function optionsCommand(): Command {
  const command = new Command("weftd")
    .description(
      "Connect this node's pods to the pods of all other nodes: watch Nodes, and program routes and VXLAN peers.",
    )
    .addOption(
      flag(
        "--kubeconfig <file>",
        "WEFTD_KUBECONFIG",
        "use this kubeconfig file for access to the API server (default: in-cluster)",
      ),
    )
    .addOption(
      flag(
        "--apiserver <urls>",
        "WEFTD_APISERVER",
        "use the API servers at these comma-separated URLs instead of the one in the kubeconfig or the pod's environment",
      )
        .argParser(parseUrls)
        .default([], "the kubeconfig's server; without one, KUBERNETES_SERVICE_HOST"),
    )
    .addOption(
      flag(
        "--nodes <file>",
        "WEFTD_NODES",
        "read all nodes from this YAML file and watch it, on hosts without Kubernetes",
      ).conflicts(["kubeconfig", "apiserver"]),
    )
    .addOption(flag("--node-name <name>", "NODE_NAME", "set the name of this node's Node object").makeOptionMandatory())
    .addOption(
      flag(
        "--net-conf <file>",
        "WEFTD_NET_CONF",
        "read the network configuration, in flannel's format, from this file",
      ).default(DEFAULT_NET_CONF),
    )
    .addOption(
      flag(
        "--iface <name>",
        "WEFTD_IFACE",
        "use the interface with this name or alternative name for traffic between nodes (default: the interface with the Node's InternalIP; if none, that of the default route)",
      ),
    )
    .addOption(
      flag(
        "--iface-cidr <networks>",
        "WEFTD_IFACE_CIDR",
        "use an interface with an address in these comma-separated networks",
      )
        .argParser(parseNetworks)
        .default([], "any"),
    )
    .addOption(
      flag(
        "--iface-regex <pattern>",
        "WEFTD_IFACE_REGEX",
        "use the first interface whose name matches this regular expression; if none, the first with a matching address",
      ).argParser(parseRegex),
    )
    .addOption(
      flag(
        "--iface-can-reach <address>",
        "WEFTD_IFACE_CAN_REACH",
        "use the interface through which the main routing table sends packets for this address",
      ).argParser(parseOneAddress),
    )
    .addOption(
      flag(
        "--public-ip <addresses>",
        "WEFTD_PUBLIC_IP",
        "announce this address to peers: one IPv4 address, one IPv6 address, or both, separated by a comma",
      )
        .argParser(parsePublicIp)
        .default([], "the underlay's addresses"),
    )
    .addOption(
      flag(
        "--attach <plugin>",
        "WEFTD_ATTACH",
        "attach pods with this plugin; a bridge is limited to 1,024 pods, ptp is not",
      )
        .choices(["bridge", "ptp"])
        .default("bridge"),
    )
    .addOption(
      flag(
        "--non-masquerade-cidrs <networks>",
        "WEFTD_NON_MASQUERADE_CIDRS",
        "do not masquerade traffic from pods to these comma-separated networks, which have routes to the pods",
      )
        .argParser(parseNetworks)
        .default([], "the cluster's pods only"),
    )
    .addOption(
      flag(
        "--vxlan-from <whom>",
        "WEFTD_VXLAN_FROM",
        "accept VXLAN packets from these senders; nodes are identified by the addresses of their Node objects",
      )
        .choices(["nodes", "anybody"])
        .default("nodes"),
    )
    .addOption(
      flag(
        "--cni-conf-dir <dir>",
        "WEFTD_CNI_CONF_DIR",
        "write the conflist to this directory, from which the runtime reads it",
      ).default(DEFAULT_CNI_CONF_DIR),
    )
    .addOption(
      flag(
        "--run-dir <dir>",
        "WEFTD_RUN_DIR",
        "keep the node table and the liveness socket for the executables in this directory",
      )
        // The conflist has this path, and its readers run in other directories.
        .argParser((path) => resolve(path))
        .default(DEFAULT_RUN_DIR),
    )
    .addOption(
      flag(
        "--state-dir <dir>",
        "WEFTD_STATE_DIR",
        "keep state that outlives a reboot, the addresses of API servers, in this directory",
      )
        .argParser((path) => resolve(path))
        .default(DEFAULT_STATE_DIR),
    )
    .addOption(
      flag(
        "--proc-sys <dir>",
        "WEFTD_PROC_SYS",
        "write kernel settings below this directory; in a container, the one in which the host's /proc/sys/net is mounted",
      )
        .argParser((path) => resolve(path))
        .default(PROC_SYS),
    )
    .addOption(
      flag(
        "--metrics-address <host:port>",
        "WEFTD_METRICS_ADDRESS",
        "serve health and metrics at this address; :PORT for all addresses",
      )
        .argParser(parseListenAddress)
        .default(METRICS_LISTEN, `${METRICS_LISTEN.host}:${METRICS_LISTEN.port}`),
    )
    .addOption(
      flag("--log-level <level>", "WEFTD_LOG_LEVEL", "log messages of this level and more severe ones")
        .choices(LOG_LEVELS)
        .default("info"),
    )
    .allowExcessArguments(false)
    .showHelpAfterError("(weftd --help explains the flags)")
    .addHelpText("after", EXAMPLES);
  for (const option of [...serviceFlags(), ...policyFlags(), ...proxyPlaceFlags(), ...outsideFlags()])
    command.addOption(option);
  return command;
}

/** Parses "192.0.2.1", "2001:db8::1", or one of each, separated by a comma. */
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

/** Parses a list such as "https://192.0.2.1:6443,https://[2001:db8::1]:6443". */
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

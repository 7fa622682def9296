/**
 * Generates the network configuration for the container runtime.
 *
 * Network name and bridge are flannel's (`cbr0` and `cni0`). host-local keeps its reservations in a directory named
 * after the network, runtimes keep their results under this name, and pods are attached to this bridge. So after a
 * takeover from flannel the running pods keep their addresses and are deleted like all others. On a new node any names
 * would do.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { NetworkPolicyKey } from "../../../pkg/attachment/policy/protocol.ts";
import { CONFLIST_NAME, DEFAULT_BRIDGE, NETWORK_NAME, POLICY_SOCKET_FILE } from "../../../pkg/footprint.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { AttachPlugin } from "../../../pkg/reconcile/pod-ends.ts";
import { replaceFile } from "../../core/drivers/replace-file.ts";
import type { Predecessor } from "../../sources/predecessor.ts";
import type { PolicyState } from "../facts.ts";

/** Plugins for what kubelet and the runtimes request with a pod: its hostPorts and its bandwidth annotations. */
const CHAINED = [
  { type: "portmap", capabilities: { portMappings: true } },
  { type: "bandwidth", capabilities: { bandwidth: true } },
];

export interface ConflistSettings {
  /** The plugin that attaches pods. ptp allows more pods than a bridge has ports (1,024). [bridge] */
  readonly attach?: AttachPlugin | undefined;
  /** This node's pod subnets. A pod gets an address of each family. */
  readonly subnets: readonly Prefix[];
  /** The networks of all pods, in the families of `subnets`. */
  readonly networks: readonly Prefix[];
  /** The MTU of pods and bridge, in bytes. */
  readonly mtu: number;
  /** The chained executable of this node's backend; undefined if the backend has none. */
  readonly executable: string | undefined;
  readonly runDir: string;
  /** How plugins ask weftd for the policies of a pod. Undefined while policies are off. */
  readonly networkPolicy?: NetworkPolicyKey | undefined;
  /** True if each pod may send only with its own addresses. [false] */
  readonly guardSenders?: boolean;
  /** The network that weftd takes over, if any. */
  readonly predecessor?: Predecessor | undefined;
}

/** Returns undefined while policies are off. */
export function networkPolicyKey({ mode, fail }: PolicyState, runDir: string): NetworkPolicyKey | undefined {
  return mode === "off" ? undefined : { socket: `${runDir}/${POLICY_SOCKET_FILE}`, fail };
}

/** Writes `conflist` if it differs, and creates its directory. Returns true if it wrote. */
export async function writeConflist(directory: string, conflist: string): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  return replaceFile(join(directory, CONFLIST_NAME), conflist);
}

export function formatConflist(settings: ConflistSettings): string {
  const { executable, predecessor, runDir } = settings;
  const conflist = {
    // For runtimes that ignore `cniVersions`. Other runtimes use the highest version of that list that they support.
    cniVersion: "1.0.0",
    cniVersions: ["0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    name: predecessor?.network ?? NETWORK_NAME,
    plugins: [
      attachPlugin(settings),
      ...chained(predecessor),
      ...(executable === undefined ? [] : [{ type: executable, runDir, ...scratch(predecessor) }]),
    ],
  };
  return `${JSON.stringify(conflist, null, 2)}\n`;
}

/**
 * The directory in which flannel's plugin keeps a file for each pod that it attached. weft's plugin deletes that file
 * with the pod.
 */
function scratch(predecessor: Predecessor | undefined) {
  return predecessor === undefined ? {} : { flannelDataDir: predecessor.scratch };
}

/** Keeps the operator's chained plugins after flannel's, in their order. */
function chained(predecessor: Predecessor | undefined): readonly object[] {
  const kept = predecessor?.chained ?? [];
  return [...kept, ...CHAINED.filter(({ type }) => !kept.some((plugin) => plugin.type === type))];
}

function attachPlugin(settings: ConflistSettings) {
  const { attach = "bridge", subnets, networks, mtu, networkPolicy, guardSenders = false, predecessor } = settings;
  const families = ([4, 6] as const).filter((family) => subnets.some(({ address }) => address.family === family));
  const { routes, ...ipam } = predecessor?.ipam ?? {};
  const kind =
    attach === "ptp"
      ? { type: "ptp" }
      : {
          type: "bridge",
          bridge: DEFAULT_BRIDGE,
          isDefaultGateway: true,
          // A pod that reaches itself through a Service needs its packet sent back out of the port through which it
          // arrived.
          hairpinMode: true,
          ...predecessor?.bridge,
        };
  return {
    ...kind,
    mtu: smallest(mtu, predecessor?.bridge.mtu),
    // weftd masquerades for the entire node, and knows which destinations are pods on other nodes.
    ipMasq: false,
    ...(networkPolicy && { networkPolicy }),
    ...(guardSenders && { guardSenders }),
    ipam: {
      ...ipam,
      type: "host-local",
      // A range set for each family: a pod gets an address of each, from the first subnet with a free one.
      ranges: families.map((family) =>
        subnets.filter(({ address }) => address.family === family).map((subnet) => ({ subnet: formatPrefix(subnet) })),
      ),
      // As in flannel: other pods stay reachable through this interface if a second interface takes the default route.
      routes: [
        ...(Array.isArray(routes) ? routes : []),
        ...networks
          .filter(({ address }) => families.includes(address.family))
          .map((network) => ({ dst: formatPrefix(network) })),
        // The bridge plugin adds the default route itself.
        ...(attach === "ptp" ? families.map((family) => ({ dst: family === 4 ? "0.0.0.0/0" : "::/0" })) : []),
      ],
    },
  };
}

/**
 * Returns the smaller MTU. A smaller one of the predecessor is kept, because it is an operator's choice with a reason
 * unknown here.
 */
function smallest(mtu: number, kept: unknown): number {
  return typeof kept === "number" && kept > 0 ? Math.min(mtu, kept) : mtu;
}

/**
 * The network configuration that weftd hands to the container runtime.
 *
 * Network name and bridge are flannel's (`cbr0` and `cni0`): host-local keeps its reservations in a directory named after
 * the network, runtimes keep their results under it, and pods hang on that bridge. On a node taken over from flannel the
 * pods that run keep their addresses and are deleted like all others; on a new node the names are as good as any.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CONFLIST_NAME, DEFAULT_BRIDGE, NETWORK_NAME } from "../../../pkg/footprint.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { AttachPlugin } from "../../../pkg/reconcile/pod-ends.ts";
import { replaceFile } from "../../core/drivers/replace-file.ts";
import type { Predecessor } from "../../sources/predecessor.ts";

/** What kubelet and the runtimes ask for with a pod: its hostPorts, and its bandwidth annotations. */
const CHAINED = [
  { type: "portmap", capabilities: { portMappings: true } },
  { type: "bandwidth", capabilities: { bandwidth: true } },
];

export interface ConflistSettings {
  /** What ties a pod to the node: [bridge], or ptp for more pods than a bridge has ports (1,024). */
  readonly attach?: AttachPlugin | undefined;
  /** This node's pod subnets: a pod gets an address of each family. */
  readonly subnets: readonly Prefix[];
  /** All pods' networks, of the families of `subnets`. */
  readonly networks: readonly Prefix[];
  /** Of pods and bridge, in bytes. */
  readonly mtu: number;
  /** The chained executable of this node's backend; undefined where that has none. */
  readonly executable: string | undefined;
  readonly runDir: string;
  /** Whose network this was. */
  readonly predecessor?: Predecessor | undefined;
}

/** Writes `conflist`, and makes its directory, where it is not as it should be; true when it wrote. */
export async function writeConflist(directory: string, conflist: string): Promise<boolean> {
  await mkdir(directory, { recursive: true });
  return replaceFile(join(directory, CONFLIST_NAME), conflist);
}

export function formatConflist(settings: ConflistSettings): string {
  const { executable, predecessor, runDir } = settings;
  const conflist = {
    // For runtimes that know nothing of `cniVersions`; the others take the highest they speak of that list.
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

/** Where flannel's plugin keeps a file for each pod that it attached: ours is the last to see the pod. */
function scratch(predecessor: Predecessor | undefined) {
  return predecessor === undefined ? {} : { flannelDataDir: predecessor.scratch };
}

/** What the operator has put behind flannel stays, in its order. */
function chained(predecessor: Predecessor | undefined): readonly object[] {
  const kept = predecessor?.chained ?? [];
  return [...kept, ...CHAINED.filter(({ type }) => !kept.some((plugin) => plugin.type === type))];
}

function attachPlugin({ attach = "bridge", subnets, networks, mtu, predecessor }: ConflistSettings) {
  const families = ([4, 6] as const).filter((family) => subnets.some(({ address }) => address.family === family));
  const { routes, ...ipam } = predecessor?.ipam ?? {};
  const kind =
    attach === "ptp"
      ? { type: "ptp" }
      : {
          type: "bridge",
          bridge: DEFAULT_BRIDGE,
          isDefaultGateway: true,
          // A pod that reaches itself by a Service needs its packet sent back out of the port it came from.
          hairpinMode: true,
          ...predecessor?.bridge,
        };
  return {
    ...kind,
    mtu: smallest(mtu, predecessor?.bridge.mtu),
    // weftd masquerades for the whole node, and knows which destinations are pods elsewhere.
    ipMasq: false,
    ipam: {
      ...ipam,
      type: "host-local",
      // A set for each family: a pod gets an address of each, from the first subnet that has one left.
      ranges: families.map((family) =>
        subnets.filter(({ address }) => address.family === family).map((subnet) => ({ subnet: formatPrefix(subnet) })),
      ),
      // As flannel's: other pods stay reachable by this interface when a second one takes the default route.
      routes: [
        ...(Array.isArray(routes) ? routes : []),
        ...networks
          .filter(({ address }) => families.includes(address.family))
          .map((network) => ({ dst: formatPrefix(network) })),
        // The bridge plugin adds the default route by itself.
        ...(attach === "ptp" ? families.map((family) => ({ dst: family === 4 ? "0.0.0.0/0" : "::/0" })) : []),
      ],
    },
  };
}

/** A predecessor's MTU stays where it is smaller: an operator's word, which nothing here knows the reason of. */
function smallest(mtu: number, kept: unknown): number {
  return typeof kept === "number" && kept > 0 ? Math.min(mtu, kept) : mtu;
}

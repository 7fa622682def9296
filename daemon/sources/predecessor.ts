/**
 * The network that weftd takes over: flannel's conflist, parsed for the settings to keep. Running pods are attached to
 * its bridge, their addresses are reserved under its name, and the operator's additions to it still apply.
 */
import { ConfigObject } from "../../pkg/cni/config.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { parseJsonObject } from "../../pkg/cni/network.ts";
import { DEFAULT_BRIDGE, DEFAULT_FLANNEL_DIR, NETWORK_NAME } from "../../pkg/footprint.ts";

export interface Predecessor {
  /** The file's name in the runtime's directory. */
  readonly file: string;
  readonly network: string;
  /** The settings of its bridge, with keys in our spelling. */
  readonly bridge: Readonly<Record<string, unknown>>;
  /** The settings of its IPAM plugin. */
  readonly ipam: Readonly<Record<string, unknown>>;
  /**
   * The directory in which flannel's plugin stores the configuration that it passed to the bridge, one file for each
   * pod.
   */
  readonly scratch: string;
  /** The plugins after the one that attaches the pod, unchanged. */
  readonly chained: readonly Readonly<Record<string, unknown>>[];
}

/** Keys of flannel's delegate that weftd reads or writes. Go matches them case-insensitively. */
const BRIDGE_KEYS = ["bridge", "mtu", "ipMasq", "hairpinMode", "isGateway", "isDefaultGateway", "type", "ipam"];
/** Keys that weftd sets for the entire node. */
const OWN_KEYS = ["type", "name", "ipMasq", "ipam", "cniVersion"];

/**
 * Parses `text`, the content of `file`. Returns the flannel network if its pods are attached to a bridge, undefined for
 * another network's file, or in words the reason why weftd cannot take over a flannel network.
 */
export function parsePredecessor(file: string, text: string): Predecessor | string | undefined {
  const list = readObject(file, text);
  if (list === undefined) return undefined;
  try {
    // A file of one plugin counts as a list of one.
    const [first, ...chained] = list.has("plugins") ? list.objectList("plugins") : [list];
    if (first?.value("type") !== "flannel") return undefined;
    const delegate = first.object("delegate");
    const type = delegate.optionalString("type") || "bridge";
    if (type !== "bridge") return `${file}: flannel attaches pods with ${type} instead of a bridge`;
    const bridge = inOurSpelling(delegate.values());
    return {
      file,
      network: list.requiredString("name"),
      bridge: Object.fromEntries(Object.entries(bridge).filter(([key]) => !OWN_KEYS.includes(key))),
      ipam: first.object("ipam").values(),
      scratch: first.optionalString("dataDir") || DEFAULT_FLANNEL_DIR,
      chained: chained.map((plugin) => plugin.values()),
    };
  } catch (error) {
    if (isCniError(error)) return `${file}: ${error.message}`;
    throw error;
  }
}

/** Parses a JSON object; undefined if the text is not one. Runtimes ignore such a file, too. */
function readObject(file: string, text: string): ConfigObject | undefined {
  try {
    return new ConfigObject(parseJsonObject(new TextEncoder().encode(text), file));
  } catch (error) {
    if (isCniError(error)) return undefined;
    throw error;
  }
}

function inOurSpelling(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const spelling = new Map(BRIDGE_KEYS.map((key) => [key.toLowerCase(), key]));
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [spelling.get(key.toLowerCase()) ?? key, value]),
  );
}

/** The names of the pods' network and bridge in the conflist, and whether bridge ports have hairpin mode. */
export interface BridgeNames {
  readonly network: string;
  readonly bridge: string;
  readonly hairpin: boolean;
}

export function namesOf(predecessor: Predecessor | undefined): BridgeNames {
  const { bridge, hairpinMode } = predecessor?.bridge ?? {};
  return {
    network: predecessor?.network ?? NETWORK_NAME,
    bridge: typeof bridge === "string" ? bridge : DEFAULT_BRIDGE,
    hairpin: hairpinMode !== false,
  };
}

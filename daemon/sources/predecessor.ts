/**
 * The network that weftd takes over: flannel's conflist, read for what must stay as it is. Pods that run hang on its
 * bridge, their addresses are reserved under its name, and what an operator has added to it is still wanted.
 */
import { ConfigObject } from "../../pkg/cni/config.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import { parseJsonObject } from "../../pkg/cni/network.ts";
import { DEFAULT_BRIDGE, DEFAULT_FLANNEL_DIR, NETWORK_NAME } from "../../pkg/footprint.ts";

export interface Predecessor {
  /** The file that says so, in the runtime's folder. */
  readonly file: string;
  readonly network: string;
  /** Keys that its bridge has, in our spelling. */
  readonly bridge: Readonly<Record<string, unknown>>;
  /** Keys that its IPAM plugin has. */
  readonly ipam: Readonly<Record<string, unknown>>;
  /** Where flannel's plugin keeps what it gave to the bridge, a file for each pod. */
  readonly scratch: string;
  /** The plugins that follow the one that attaches, as they stand there. */
  readonly chained: readonly Readonly<Record<string, unknown>>[];
}

/** Keys of flannel's delegate that are read or written here. Go matches them without regard to case. */
const BRIDGE_KEYS = ["bridge", "mtu", "ipMasq", "hairpinMode", "isGateway", "isDefaultGateway", "type", "ipam"];
/** What weftd decides for the whole node. */
const OWN_KEYS = ["type", "name", "ipMasq", "ipam", "cniVersion"];

/**
 * What `text`, the content of `file`, says of a flannel network whose pods hang on a bridge; `undefined` where it is
 * another network's. In words, why weftd cannot take it over, where it is flannel's and not of that kind.
 */
export function parsePredecessor(file: string, text: string): Predecessor | string | undefined {
  const list = readObject(file, text);
  if (list === undefined) return undefined;
  try {
    // A file of one plugin is a list of one.
    const [first, ...chained] = list.has("plugins") ? list.objectList("plugins") : [list];
    if (first?.value("type") !== "flannel") return undefined;
    const delegate = first.object("delegate");
    const type = delegate.optionalString("type") || "bridge";
    if (type !== "bridge") return `${file}: flannel attaches pods by ${type} there, not by a bridge`;
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

/** What is no JSON object is nobody's network: runtimes pass it over, too. */
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

/** What the conflist calls the pods' network and bridge, and whether ports send back what came by them. */
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

/**
 * What a node says about itself on its Node object: the annotations of flannel 0.28 (pkg/subnet/kube), read and
 * written, so that peers run by flanneld and by weftd understand each other.
 *
 * Pure. Reading never throws: what cannot be read becomes a problem in words and the rest is kept, since one broken
 * Node must not cost this node its other peers.
 */
import { type Address, AddressError, type Family, formatAddress, parseAddress } from "../../ip/address.ts";

const PREFIX = "flannel.alpha.coreos.com/";

/** Every key that is read or written, by what it holds. */
export const ANNOTATION = {
  /** "true" on every node whose subnet comes from its Node object; flannel ignores Nodes without it. */
  subnetManager: `${PREFIX}kube-subnet-manager`,
  /** "vxlan", "host-gw", ...: a node talks to peers of its own type only. */
  backendType: `${PREFIX}backend-type`,
  /** JSON of the backend's own (pkg/backend): `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}` in vxlan, `null` in host-gw. */
  backendData: `${PREFIX}backend-data`,
  backendV6Data: `${PREFIX}backend-v6-data`,
  /** The address under which peers reach this node. */
  publicIp: `${PREFIX}public-ip`,
  publicIpv6: `${PREFIX}public-ipv6`,
  /** Ours, beside flannel's: the UDP port of this node's VTEPs, so that a cluster can change it node by node. */
  vxlanPort: "weft/vxlan-port",
  /** Set by the administrator: the address that the node is to publish instead of the one it found. */
  publicIpOverwrite: `${PREFIX}public-ip-overwrite`,
  publicIpv6Overwrite: `${PREFIX}public-ipv6-overwrite`,
} as const;

/** Where a backend's data is, by the family of the underlay that it is about. */
export const DATA_ANNOTATION: Readonly<Record<Family, string>> = {
  4: ANNOTATION.backendData,
  6: ANNOTATION.backendV6Data,
};

/** The backend of a node, and what it says of the node: only the backend itself knows that form. */
export interface NodeBackend {
  readonly type: string;
  /** The text of backend-data (4) and backend-v6-data (6); absent where it says nothing. */
  readonly data?: Partial<Readonly<Record<Family, string>>>;
  /** The UDP port of vxlan; absent where flannel wrote the annotations. */
  readonly port?: number;
}

/** What the annotations of one Node hold; a field is absent where the annotation is, or cannot be read. */
export interface AnnotationContent {
  readonly managed: boolean;
  readonly backend?: NodeBackend;
  readonly publicIp?: Address;
  readonly publicIpv6?: Address;
  readonly publicIpOverwrite?: Address;
  readonly publicIpv6Overwrite?: Address;
}

/** What this node publishes about itself. A family takes part exactly when its public address is given. */
export interface Announcement {
  readonly backend: NodeBackend;
  readonly publicIp?: Address;
  readonly publicIpv6?: Address;
}

export type Annotations = { readonly [key: string]: string };

/** Annotations as they should be; `null` for one that should not be there. */
export type WantedAnnotations = { readonly [key: string]: string | null };

/** Reads the annotations of one Node and appends what is wrong with them to `problems`. */
export function parseAnnotations(annotations: Annotations, problems: string[]): AnnotationContent {
  const addressOf = (key: string, family: Family) => readAddress(annotations, key, family, problems);
  const type = annotations[ANNOTATION.backendType];
  const backend = { ...optional("data", readData(annotations)), ...optional("port", readPort(annotations, problems)) };
  return {
    managed: annotations[ANNOTATION.subnetManager] === "true",
    ...optional("backend", type ? { type, ...backend } : undefined),
    ...optional("publicIp", addressOf(ANNOTATION.publicIp, 4)),
    ...optional("publicIpv6", addressOf(ANNOTATION.publicIpv6, 6)),
    ...optional("publicIpOverwrite", addressOf(ANNOTATION.publicIpOverwrite, 4)),
    ...optional("publicIpv6Overwrite", addressOf(ANNOTATION.publicIpv6Overwrite, 6)),
  };
}

/**
 * The annotations that announce this node. Those of a family that does not take part are `null`: left behind by an
 * earlier configuration they would draw traffic to an endpoint that no longer exists.
 */
export function formatAnnotations({ backend, publicIp, publicIpv6 }: Announcement): WantedAnnotations {
  return {
    [ANNOTATION.subnetManager]: "true",
    [ANNOTATION.backendType]: backend.type,
    [ANNOTATION.backendData]: publicIp === undefined ? null : (backend.data?.[4] ?? "null"),
    [ANNOTATION.backendV6Data]: publicIpv6 === undefined ? null : (backend.data?.[6] ?? "null"),
    // flannel announces no port. Without this annotation, no peer could know which nodes have changed theirs.
    [ANNOTATION.vxlanPort]: backend.port === undefined ? null : String(backend.port),
    [ANNOTATION.publicIp]: publicIp === undefined ? null : formatAddress(publicIp),
    [ANNOTATION.publicIpv6]: publicIpv6 === undefined ? null : formatAddress(publicIpv6),
  };
}

/** The annotations of `wanted` that `current` does not have like that; undefined when there are none. */
export function differingAnnotations(current: Annotations, wanted: WantedAnnotations): WantedAnnotations | undefined {
  const entries = Object.entries(wanted).filter(([key, value]) => (current[key] ?? null) !== value);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** flannel writes the text `null` where the backend has nothing to say (host-gw), and so do we. */
function readData(annotations: Annotations): NodeBackend["data"] {
  const texts = ([4, 6] as const).map((family) => [family, annotations[DATA_ANNOTATION[family]]] as const);
  const said = texts.filter(([, text]) => text !== undefined && text !== "" && text !== "null");
  return said.length === 0 ? undefined : Object.fromEntries(said);
}

function readPort(annotations: Annotations, problems: string[]): number | undefined {
  const text = annotations[ANNOTATION.vxlanPort];
  if (text === undefined || text === "") return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  problems.push(`annotation ${ANNOTATION.vxlanPort}: ${JSON.stringify(text)} is not a number from 1 to 65535: ignored`);
  return undefined;
}

function readAddress(annotations: Annotations, key: string, family: Family, problems: string[]): Address | undefined {
  const text = annotations[key];
  if (text === undefined || text === "") return undefined;
  try {
    const address = parseAddress(text);
    if (address.family === family) return address;
    problems.push(`annotation ${key}: ${text} is not an IPv${family} address: ignored`);
  } catch (error) {
    if (!(error instanceof AddressError)) throw error;
    problems.push(`annotation ${key}: ${error.message}: ignored`);
  }
  return undefined;
}

/** `{ [key]: value }`, or nothing at all when there is no value. */
function optional<Key extends string, Value>(key: Key, value: Value | undefined): { readonly [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [K in Key]?: Value };
}

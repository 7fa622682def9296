/**
 * A node's annotations on its Node object, in the format of flannel 0.28 (pkg/subnet/kube), so that peers run by
 * flanneld and by weftd understand each other.
 *
 * Pure. Parsing never throws: text that cannot be parsed is reported as a problem, and the rest is kept. One invalid
 * Node must not affect this node's other peers.
 */
import { type Address, AddressError, type Family, formatAddress, parseAddress } from "../../ip/address.ts";

const PREFIX = "flannel.alpha.coreos.com/";

/** The keys of all annotations that are read or written. */
export const ANNOTATION = {
  /** "true" on every node whose subnet comes from its Node object. flannel ignores Nodes without it. */
  subnetManager: `${PREFIX}kube-subnet-manager`,
  /** "vxlan", "host-gw", ...; flannel sends only to peers of its own type. */
  backendType: `${PREFIX}backend-type`,
  /**
   * JSON in the backend's own format (pkg/backend): `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}` in vxlan, `null` in
   * host-gw.
   */
  backendData: `${PREFIX}backend-data`,
  backendV6Data: `${PREFIX}backend-v6-data`,
  /** The address at which peers reach this node. */
  publicIp: `${PREFIX}public-ip`,
  publicIpv6: `${PREFIX}public-ipv6`,
  /** weft's own annotation: the UDP port of this node's VTEPs, so that a cluster can change it node by node. */
  vxlanPort: "weft/vxlan-port",
  /** weft's own annotation: whether this node enforces NetworkPolicies or audits them. */
  networkPolicy: "weft/network-policy",
  /** Set by the administrator: the address that the node must publish instead of the one it found. */
  publicIpOverwrite: `${PREFIX}public-ip-overwrite`,
  publicIpv6Overwrite: `${PREFIX}public-ipv6-overwrite`,
} as const;

/** The annotations with a backend's data, by family of the underlay. */
export const DATA_ANNOTATION: Readonly<Record<Family, string>> = {
  4: ANNOTATION.backendData,
  6: ANNOTATION.backendV6Data,
};

/** The backend of a node and its data. Only the backend itself knows the data's format. */
export interface NodeBackend {
  readonly type: string;
  /** The text of backend-data (4) and backend-v6-data (6). Undefined if there is none. */
  readonly data?: Partial<Readonly<Record<Family, string>>>;
  /** The UDP port of vxlan. Undefined if flannel wrote the annotations. */
  readonly port?: number;
}

/** `audit`: packets that NetworkPolicies deny are counted and logged, but not dropped. */
export type RecordedPolicyMode = "enforce" | "audit";

/** The content of one Node's annotations. A field is undefined if the annotation is missing or invalid. */
export interface AnnotationContent {
  readonly managed: boolean;
  readonly backend?: NodeBackend;
  readonly publicIp?: Address;
  readonly publicIpv6?: Address;
  readonly publicIpOverwrite?: Address;
  readonly publicIpv6Overwrite?: Address;
  readonly networkPolicy?: RecordedPolicyMode;
}

/** The data that this node publishes. A family is used exactly if its public address is set. */
export interface Announcement {
  readonly backend: NodeBackend;
  readonly publicIp?: Address;
  readonly publicIpv6?: Address;
  /** Undefined if the node has no NetworkPolicies. */
  readonly networkPolicy?: RecordedPolicyMode;
}

export type Annotations = { readonly [key: string]: string };

/** The desired annotations; `null` for one that must not exist. */
export type WantedAnnotations = { readonly [key: string]: string | null };

/** Parses the annotations of one Node and appends errors in them to `problems`. */
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
    ...optional("networkPolicy", readPolicyMode(annotations, problems)),
  };
}

/**
 * Returns the annotations that announce this node. Those of an unused family are `null`: a leftover of an earlier
 * configuration would attract traffic to an endpoint that no longer exists.
 */
export function formatAnnotations({ backend, publicIp, publicIpv6, networkPolicy }: Announcement): WantedAnnotations {
  return {
    [ANNOTATION.subnetManager]: "true",
    [ANNOTATION.backendType]: backend.type,
    [ANNOTATION.backendData]: publicIp === undefined ? null : (backend.data?.[4] ?? "null"),
    [ANNOTATION.backendV6Data]: publicIpv6 === undefined ? null : (backend.data?.[6] ?? "null"),
    // flannel announces no port. Without this annotation, no peer could know which nodes have changed theirs.
    [ANNOTATION.vxlanPort]: backend.port === undefined ? null : String(backend.port),
    [ANNOTATION.publicIp]: publicIp === undefined ? null : formatAddress(publicIp),
    [ANNOTATION.publicIpv6]: publicIpv6 === undefined ? null : formatAddress(publicIpv6),
    [ANNOTATION.networkPolicy]: networkPolicy ?? null,
  };
}

/** Returns the annotations of `wanted` that differ in `current`. Undefined if there are none. */
export function differingAnnotations(current: Annotations, wanted: WantedAnnotations): WantedAnnotations | undefined {
  const entries = Object.entries(wanted).filter(([key, value]) => (current[key] ?? null) !== value);
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** flannel writes the text `null` if the backend has no data (host-gw); weft does the same. */
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

function readPolicyMode(annotations: Annotations, problems: string[]): RecordedPolicyMode | undefined {
  const text = annotations[ANNOTATION.networkPolicy];
  if (text === undefined || text === "") return undefined;
  if (text === "enforce" || text === "audit") return text;
  problems.push(`annotation ${ANNOTATION.networkPolicy}: ${JSON.stringify(text)} is not enforce or audit: ignored`);
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

/** Returns `{ [key]: value }`, or an empty object if the value is undefined. */
function optional<Key extends string, Value>(key: Key, value: Value | undefined): { readonly [K in Key]?: Value } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [K in Key]?: Value };
}

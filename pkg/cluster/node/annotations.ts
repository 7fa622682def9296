/**
 * What a node says about itself on its Node object: the annotations of flannel 0.28 (pkg/subnet/kube), read and
 * written, so that peers run by flanneld and by weftd understand each other.
 *
 * Pure. Reading never throws: what cannot be read becomes a problem in words and the rest is kept, since one broken
 * Node must not cost this node its other peers.
 */
import { type Address, AddressError, type Family, formatAddress, parseAddress } from "../../ip/address.ts";
import { formatMac, parseMac } from "../../ip/mac.ts";

const PREFIX = "flannel.alpha.coreos.com/";

/** Every key that is read or written, by what it holds. */
export const ANNOTATION = {
  /** "true" on every node whose subnet comes from its Node object; flannel ignores Nodes without it. */
  subnetManager: `${PREFIX}kube-subnet-manager`,
  /** "vxlan", "host-gw", ...: a node talks to peers of its own type only. */
  backendType: `${PREFIX}backend-type`,
  /** `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}`; the text `null` where the backend has nothing to say. */
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

/** One VXLAN endpoint. */
export interface Vtep {
  /** Absent where an old flannel wrote the annotation. */
  readonly vni?: number;
  /** "aa:bb:cc:dd:ee:ff" in lower case; a unicast address, never zero. */
  readonly mac: string;
}

/** The backend of a node and, for vxlan, its endpoint in each family's overlay. */
export interface NodeBackend {
  readonly type: string;
  readonly vtep?: Vtep;
  readonly vtepV6?: Vtep;
  /** The UDP port of both; absent where flannel wrote the annotations. */
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

/** The largest VXLAN network identifier: 24 bits (RFC 7348). */
const MAX_VNI = 0xffffff;

/** Reads the annotations of one Node and appends what is wrong with them to `problems`. */
export function parseAnnotations(annotations: Annotations, problems: string[]): AnnotationContent {
  const addressOf = (key: string, family: Family) => readAddress(annotations, key, family, problems);
  const type = annotations[ANNOTATION.backendType];
  const vtep = readVtep(annotations, ANNOTATION.backendData, problems);
  const vtepV6 = readVtep(annotations, ANNOTATION.backendV6Data, problems);
  const port = readPort(annotations, problems);
  const backend = { ...optional("vtep", vtep), ...optional("vtepV6", vtepV6), ...optional("port", port) };
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
    [ANNOTATION.backendData]: publicIp === undefined ? null : formatVtep(backend.vtep),
    [ANNOTATION.backendV6Data]: publicIpv6 === undefined ? null : formatVtep(backend.vtepV6),
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

/** flannel writes the text `null` where there is no endpoint (host-gw), and so do we. */
function formatVtep(vtep: Vtep | undefined): string {
  if (vtep === undefined) return "null";
  // The order of keys is flannel's: a flanneld that takes the node over again finds nothing to rewrite.
  return JSON.stringify({ VNI: vtep.vni, VtepMAC: vtep.mac });
}

function readVtep(annotations: Annotations, key: string, problems: string[]): Vtep | undefined {
  const text = annotations[key];
  if (text === undefined || text === "") return undefined;
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    problems.push(`annotation ${key}: ${JSON.stringify(text)} is not JSON: ignored`);
    return undefined;
  }
  if (content === null) return undefined;
  const { VNI: vni, VtepMAC: mac } = content as { VNI?: unknown; VtepMAC?: unknown };
  if (vni !== undefined && !(Number.isInteger(vni) && (vni as number) >= 0 && (vni as number) <= MAX_VNI)) {
    problems.push(`annotation ${key}: VNI ${JSON.stringify(vni)} is not a number from 0 to ${MAX_VNI}: ignored`);
    return undefined;
  }
  const bytes = typeof mac === "string" ? readMac(mac) : undefined;
  if (bytes === undefined) {
    const got = mac === undefined ? "is missing" : `${JSON.stringify(mac)} is not a unicast MAC address`;
    problems.push(`annotation ${key}: VtepMAC ${got}: ignored`);
    return undefined;
  }
  return { ...optional("vni", vni as number | undefined), mac: formatMac(bytes) };
}

function readPort(annotations: Annotations, problems: string[]): number | undefined {
  const text = annotations[ANNOTATION.vxlanPort];
  if (text === undefined || text === "") return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  problems.push(`annotation ${ANNOTATION.vxlanPort}: ${JSON.stringify(text)} is not a number from 1 to 65535: ignored`);
  return undefined;
}

/** The bytes of a unicast address other than zero; the kernel refuses anything else for a neighbour. */
function readMac(text: string): Uint8Array | undefined {
  try {
    const bytes = parseMac(text);
    const isGroup = ((bytes[0] ?? 0) & 1) === 1;
    return isGroup || bytes.every((byte) => byte === 0) ? undefined : bytes;
  } catch (error) {
    if (error instanceof AddressError) return undefined;
    throw error;
  }
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

/**
 * The announcement of a vxlan node in flannel's format, `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}`, one for each family
 * of the underlay on which it has a VTEP. Parsing never throws: one invalid Node must not affect this node's other
 * peers.
 */
import { AddressError, type Family } from "../../ip/address.ts";
import { formatMac, parseMac } from "../../ip/mac.ts";
import type { Announced, Announcement, Endpoints } from "../contract.ts";
import { deriveMac } from "../derived-mac.ts";
import type { Peer } from "../node.ts";
import type { VxlanConf } from "./conf.ts";
import { vtepName } from "./overlay.ts";
import type { VxlanPeer } from "./peer.ts";

/** One VXLAN endpoint. */
export interface VtepData {
  /** Undefined if an old flannel wrote the data. */
  readonly vni?: number;
  /** In lower case, as "aa:bb:cc:dd:ee:ff". A unicast address, never zero. */
  readonly mac: string;
}

/** The largest VXLAN network identifier: 24 bits (RFC 7348). */
const MAX_VNI = 0xffffff;

/** Keeps flannel's order of keys, so that a flanneld that takes over the node again has nothing to rewrite. */
export function formatVtep({ vni, mac }: VtepData): string {
  return JSON.stringify({ VNI: vni, VtepMAC: mac });
}

/** `endpoints` are the hardware addresses of this node's VTEPs. */
function announce({ vni, port }: VxlanConf, endpoints: Endpoints): Announced {
  const data = Object.entries(endpoints as VxlanPeer["vtepMacs"]).map(([family, mac]) => [
    family,
    formatVtep({ vni, mac }),
  ]);
  return { data: Object.fromEntries(data), port };
}

/** Returns the announcement of the named node, with its VTEPs' MACs as weft derives them unless `stated` has them. */
function announceFor(
  conf: VxlanConf,
  { name, families, stated }: { name: string; families: readonly Family[]; stated: ReadonlyMap<string, string> },
): Announced {
  const macOf = (family: Family) =>
    stated.get(family === 4 ? "vtepMAC" : "vtepMACv6") ?? deriveMac(name, vtepName(family, conf.vni));
  return announce(conf, Object.fromEntries(families.map((family) => [family, macOf(family)])));
}

function readPeer(base: Peer, { data, port }: Announced, tell: (family: Family, problem: string) => void): VxlanPeer {
  const [vtep4, vtep6] = ([4, 6] as const).map((family) =>
    readVtep(data?.[family], (problem) => tell(family, problem)),
  );
  return {
    ...base,
    vni: (vtep4 ?? vtep6)?.vni,
    port,
    vtepMacs: { ...(vtep4 && { 4: vtep4.mac }), ...(vtep6 && { 6: vtep6.mac }) },
  };
}

function readVtep(text: string | undefined, tell: (problem: string) => void): VtepData | undefined {
  if (text === undefined) return undefined;
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    tell(`${JSON.stringify(text)} is not JSON`);
    return undefined;
  }
  if (content === null) return undefined;
  const { VNI: vni, VtepMAC: mac } = content as { VNI?: unknown; VtepMAC?: unknown };
  if (vni !== undefined && !(Number.isInteger(vni) && (vni as number) >= 0 && (vni as number) <= MAX_VNI)) {
    tell(`VNI ${JSON.stringify(vni)} is not a number from 0 to ${MAX_VNI}`);
    return undefined;
  }
  const bytes = typeof mac === "string" ? readMac(mac) : undefined;
  if (bytes === undefined) {
    const got = mac === undefined ? "is missing" : `${JSON.stringify(mac)} is not a unicast MAC address`;
    tell(`VtepMAC ${got}`);
    return undefined;
  }
  return { ...(vni !== undefined && { vni: vni as number }), mac: formatMac(bytes) };
}

/** Returns the bytes of a unicast address other than zero. The kernel refuses other addresses for a neighbour. */
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

const vtepMac = (text: string) => formatMac(parseMac(text));

export const announcement: Announcement<VxlanConf, VxlanPeer> = {
  announce,
  families: (_node, endpoints) => ([4, 6] as const).filter((family) => endpoints[family] !== undefined),
  readPeer,
  encodePeer: ({ vni, port, vtepMacs }) => ({ vni, port, vtepMacs }),
  fileKeys: { vtepMAC: vtepMac, vtepMACv6: vtepMac },
  announceFor,
};

/**
 * What a vxlan node says about itself, in flannel's form: `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}` for each family of the
 * underlay that it has a VTEP on; and what is read of that. Reading never throws: one broken Node must not cost this
 * node its other peers.
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
  /** Absent where an old flannel wrote it. */
  readonly vni?: number;
  /** "aa:bb:cc:dd:ee:ff" in lower case; a unicast address, never zero. */
  readonly mac: string;
}

/** The largest VXLAN network identifier: 24 bits (RFC 7348). */
const MAX_VNI = 0xffffff;

/** The order of keys is flannel's: a flanneld that takes the node over again finds nothing to rewrite. */
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

/** What a node of that name announces in either family, its VTEPs' MACs as weft derives them unless `stated`. */
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

const vtepMac = (text: string) => formatMac(parseMac(text));

export const announcement: Announcement<VxlanConf, VxlanPeer> = {
  announce,
  families: (_node, endpoints) => ([4, 6] as const).filter((family) => endpoints[family] !== undefined),
  readPeer,
  encodePeer: ({ vni, port, vtepMacs }) => ({ vni, port, vtepMacs }),
  fileKeys: { vtepMAC: vtepMac, vtepMACv6: vtepMac },
  announceFor,
};

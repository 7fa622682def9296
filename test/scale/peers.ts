/** Peers that exist only in the API server: their Nodes, and the entries that a node programs for them. */
import { ANNOTATION } from "../../pkg/cluster/node/annotations.ts";
import type { NodeInput } from "../apiserver/resource.ts";

const hex = (value: number, digits = 1) => value.toString(16).padStart(digits, "0");

/** Differences between the families of pods. Each family uses its own VTEP, over the underlay of that family. */
export const OVERLAYS = {
  4: {
    device: "flannel.1",
    /** The address of the node itself, which has number 1 on the cluster's link. */
    underlay: "192.0.2.1",
    address: "10.244.1.0/32",
    senders: "vxlan-senders4",
    peerAddress: (n: number) => `198.18.${n >> 8}.${n & 0xff}`,
    /** Four addresses each, after those of the node itself. */
    subnet: (n: number) => `10.244.${(0x4000 + n * 4) >> 8}.${(n * 4) & 0xff}/30`,
  },
  6: {
    device: "flannel-v6.1",
    underlay: "2001:db8::1",
    address: "fd00:10:244:1::/128",
    senders: "vxlan-senders6",
    peerAddress: (n: number) => `2001:db8:1::${hex(n + 1)}`,
    subnet: (n: number) => `fd00:10:244:${hex(0x1000 + n)}::/64`,
  },
} as const;
type Family = keyof typeof OVERLAYS;

/** The families of pods, and of the link between nodes. */
export type Stack = "ipv4" | "dual";
export const FAMILIES: Readonly<Record<Stack, readonly Family[]>> = { ipv4: [4], dual: [4, 6] };

/** Peer number `n` as a Node, with a status as large as a real one's. `generation` changes the MAC of its VTEPs. */
export function peer(n: number, stack: Stack, generation = 0): NodeInput {
  const bytes = [generation, n >> 8, n & 0xff].map((byte) => hex(byte, 2));
  const backendData = JSON.stringify({ VNI: 1, VtepMAC: `0a:00:00:${bytes.join(":")}` });
  const families = FAMILIES[stack];
  const addresses = families.map((family) => OVERLAYS[family].peerAddress(n));
  const [address, addressV6] = addresses;
  const podCIDRs = subnetsOf(n, stack);
  return {
    metadata: {
      name: `peer-${String(n).padStart(5, "0")}`,
      labels: { "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux" },
      annotations: {
        [ANNOTATION.subnetManager]: "true",
        [ANNOTATION.backendType]: "vxlan",
        [ANNOTATION.backendData]: backendData,
        [ANNOTATION.publicIp]: address,
        ...(addressV6 && { [ANNOTATION.backendV6Data]: backendData, [ANNOTATION.publicIpv6]: addressV6 }),
      },
    },
    spec: { podCIDR: podCIDRs[0], podCIDRs },
    status: { addresses: addresses.map((one) => ({ type: "InternalIP", address: one })), images: IMAGES },
  };
}

const IMAGES = Array.from({ length: 50 }, (_, at) => ({
  names: [`registry.example/library/image-${at}@sha256:${String(at).repeat(64).slice(0, 64)}`, `image-${at}:v1`],
  sizeBytes: 50_000_000 + at,
}));

export function subnetsOf(n: number, stack: Stack): string[] {
  return FAMILIES[stack].map((family) => OVERLAYS[family].subnet(n));
}

/** The MAC of the peer's VTEPs. */
export function macOf({ metadata }: NodeInput): string {
  const annotations = metadata.annotations as Record<string, string>;
  return (JSON.parse(annotations[ANNOTATION.backendData] ?? "{}") as { VtepMAC: string }).VtepMAC;
}

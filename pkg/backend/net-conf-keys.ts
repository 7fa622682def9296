/** The keys of net-conf.json: which there are, and what an operator should know of each. */
import { DEFAULT_VXLAN_PORT } from "../footprint.ts";

export type BackendKind = "auto" | "vxlan" | "host-gw";

export interface NetConfKey {
  /** As flannel spells it. */
  readonly name: string;
  /** What it may be, in words. */
  readonly values: string;
  /** Absent: it has to be stated, or is nothing. */
  readonly standard?: string;
  readonly meaning: string;
  /** The backends that know it; all when left out. */
  readonly backends?: readonly BackendKind[];
  /** flannel's, without effect here: named in a warning. */
  readonly isIdle?: boolean;
}

export const DEFAULT_VNI = 1;
/** What still fits the device's name, flannel.<VNI> or flannel-v6.<VNI>, which the kernel ends at 15 characters. */
export const LARGEST_VNI = { 4: 9_999_999, 6: 9_999 } as const;
/** IPv4 asks for 68 and IPv6 for 1280 bytes behind the outer headers; 65535 is what IP can say. */
export const UNDERLAY_MTU = { min: 576, max: 65_535 };

const idle = (name: string): NetConfKey => ({ name, values: "any", meaning: "has no effect", isIdle: true });

export const NETWORK_KEYS: readonly NetConfKey[] = [
  {
    name: "Network",
    values: "an IPv4 network",
    meaning: "where all IPv4 pods are: the cluster's `--cluster-cidr`; needed unless `EnableIPv4` is false",
  },
  { name: "EnableIPv4", values: "a boolean", standard: "true", meaning: "pods have IPv4 addresses" },
  {
    name: "IPv6Network",
    values: "an IPv6 network",
    meaning: "where all IPv6 pods are; needed where `EnableIPv6` is true",
  },
  { name: "EnableIPv6", values: "a boolean", standard: "false", meaning: "pods have IPv6 addresses" },
  { name: "Backend", values: "an object", standard: "{}", meaning: "how packets get to other nodes: see below" },
  ...["SubnetLen", "SubnetMin", "SubnetMax", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax", "EnableNFTables"].map(
    idle,
  ),
];

export const BACKEND_KEYS: readonly NetConfKey[] = [
  {
    name: "Type",
    values: '"auto", "vxlan" or "host-gw"',
    standard: '"auto"',
    meaning:
      "`vxlan`: in UDP packets, over any network; `host-gw`: by plain routes, to nodes on the same link alone; `auto`: by plain " +
      "routes on the link, by VXLAN beyond it",
  },
  {
    name: "VNI",
    values: `an integer from 1 to ${LARGEST_VNI[4]}, with IPv6 to ${LARGEST_VNI[6]}`,
    standard: String(DEFAULT_VNI),
    meaning: "VXLAN network identifier; devices are called `flannel.<VNI>`, over IPv6 `flannel-v6.<VNI>`",
  },
  {
    name: "Port",
    values: "an integer from 0 to 65535",
    standard: String(DEFAULT_VXLAN_PORT),
    meaning: "UDP port of VXLAN; 0 is the default; the standard's own is 4789 (RFC 7348)",
  },
  {
    name: "MTU",
    values: `0, or an integer from ${UNDERLAY_MTU.min} to ${UNDERLAY_MTU.max}`,
    standard: "0",
    meaning:
      "bytes that the network between the nodes carries; 0: what the interface says. Pods get 50 less (over IPv6 70)",
    backends: ["auto", "vxlan"],
  },
  {
    name: "DirectRouting",
    values: "a boolean",
    standard: "false",
    meaning: "plain routes to nodes on the same link, as `auto` has it",
    backends: ["vxlan"],
  },
  ...["GBP", "Learning"].map(
    (name): NetConfKey => ({
      name,
      values: "false",
      standard: "false",
      meaning: "true is refused: weft programs every peer and learns nothing from packets",
      backends: ["auto", "vxlan"],
    }),
  ),
];

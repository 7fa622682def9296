/** Documentation of vxlan's part of net-conf.json, for operators. */
import { DEFAULT_VXLAN_PORT } from "../../footprint.ts";
import type { Manual, NetConfKey } from "../contract.ts";
import { DEFAULT_VNI, LARGEST_VNI, UNDERLAY_MTU } from "./conf.ts";

const keys: readonly NetConfKey[] = [
  {
    name: "VNI",
    values: `an integer from 1 to ${LARGEST_VNI[4]}, with IPv6 to ${LARGEST_VNI[6]}`,
    standard: String(DEFAULT_VNI),
    meaning: "VXLAN network identifier; devices are named `flannel.<VNI>`, on an IPv6 underlay `flannel-v6.<VNI>`",
  },
  {
    name: "Port",
    values: "an integer from 0 to 65535",
    standard: String(DEFAULT_VXLAN_PORT),
    meaning: "UDP port of VXLAN; 0 means the default; the assigned port is 4789 (RFC 7348)",
  },
  {
    name: "MTU",
    values: `0, or an integer from ${UNDERLAY_MTU.min} to ${UNDERLAY_MTU.max}`,
    standard: "0",
    meaning:
      "MTU of the network between the nodes in bytes; 0 means the interface's MTU. Pods get 50 less (over IPv6 70)",
    types: ["auto", "vxlan"],
  },
  {
    name: "DirectRouting",
    values: "a boolean",
    standard: "false",
    meaning: "plain routes to nodes on the same link, as with `auto`",
    types: ["vxlan"],
  },
  ...["GBP", "Learning"].map(
    (name): NetConfKey => ({
      name,
      values: "false",
      standard: "false",
      meaning: "true is refused: weft programs an entry for every peer instead of learning addresses from packets",
      types: ["auto", "vxlan"],
    }),
  ),
];

export const manual: Manual = {
  words: {
    auto: "plain routes to nodes on the same link, VXLAN to others",
    vxlan: "packets within UDP packets, over any network",
  },
  keys,
};

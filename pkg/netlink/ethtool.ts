/** Features of a device's driver: the generic netlink family "ethtool" (linux/ethtool_netlink.h). */
import { attribute, attributes, cstring, flag, list, nest, u32, type ValueOf } from "./codec.ts";
import { type GenericHeader, genlmsghdr } from "./generic.ts";
import type { MessageType } from "./message.ts";

export const ETHTOOL_GENL_NAME = "ethtool";
export const ETHTOOL_MSG_FEATURES_GET = 11;
export const ETHTOOL_MSG_FEATURES_SET = 12;

const bit = nest(
  attributes(
    {
      name: attribute(2, "ETHTOOL_A_BITSET_BIT_NAME", cstring),
      value: attribute(3, "ETHTOOL_A_BITSET_BIT_VALUE", flag),
    },
    { dropUnknown: true },
  ),
);

/** Bits by name. In a bitset with a mask only the listed bits count, and a bit is set if it has a value. */
const bitset = nest(
  attributes(
    {
      nomask: attribute(1, "ETHTOOL_A_BITSET_NOMASK", flag),
      bits: attribute(3, "ETHTOOL_A_BITSET_BITS", list(1, bit)),
    },
    { dropUnknown: true },
  ),
);

const features = attributes(
  {
    header: attribute(
      1,
      "ETHTOOL_A_FEATURES_HEADER",
      nest(attributes({ index: attribute(1, "ETHTOOL_A_HEADER_DEV_INDEX", u32) }, { dropUnknown: true })),
    ),
    wanted: attribute(3, "ETHTOOL_A_FEATURES_WANTED", bitset),
    active: attribute(4, "ETHTOOL_A_FEATURES_ACTIVE", bitset),
  },
  { dropUnknown: true },
);

/** `family` is the id that the kernel assigned to ETHTOOL_GENL_NAME. */
export function featuresMessage(family: number): MessageType<GenericHeader, ValueOf<typeof features>> {
  return { identifier: "ETHTOOL_MSG_FEATURES", type: family, header: genlmsghdr, attributes: features };
}

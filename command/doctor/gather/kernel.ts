/** The features of the kernel. */

import { BACKENDS } from "../../../pkg/backend/backends.ts";
import { PROBE_LINK } from "../../../pkg/footprint.ts";
import type { Link, LinkKindData } from "../../../pkg/kernel/link.ts";
import { offloadQuestion, readOffload } from "../../../pkg/kernel/offload.ts";
import { BlockingNetlink } from "../../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import { ETHTOOL_GENL_NAME } from "../../../pkg/netlink/ethtool.ts";
import { familyQuestion, NETLINK_GENERIC, readFamily } from "../../../pkg/netlink/generic.ts";
import { RTM_NEWLINK } from "../../../pkg/netlink/link.ts";
import { NLM_F_CREATE, NLM_F_EXCL, type Request, request } from "../../../pkg/netlink/message.ts";
import type { System } from "../../../pkg/sys/system.ts";
import type { Facts, KernelFacts } from "../facts.ts";

const KINDS = ["bridge", "veth", ...BACKENDS.flatMap(({ inspection }) => inspection.kinds)];

export function lookAtKernel(system: System, route: BlockingNetlink, hasNetfilter: boolean): KernelFacts {
  const release = new TextDecoder().decode(system.readFile("/proc/sys/kernel/osrelease")).trim();
  return { release, missingKinds: missingKinds(route, KINDS), hasNetfilter };
}

/**
 * Returns the kinds of devices that the kernel does not support. Requests a device with a hardware address of five
 * bytes: the kernel refuses the address of a supported kind (EINVAL), and the name of an unsupported kind (EOPNOTSUPP).
 * No device is created.
 */
export function missingKinds(route: BlockingNetlink, kinds: readonly string[]): string[] {
  const replies = route.exchange(kinds.map(impossibleDevice));
  return kinds.filter((_, at) => isNetlinkError(replies[at]?.error, "EOPNOTSUPP"));
}

function impossibleDevice(kind: string): Request {
  return request(
    RTM_NEWLINK,
    { kind: "link", key: PROBE_LINK },
    `ip link add address (five bytes) type ${kind}`,
    {},
    { ifname: PROBE_LINK, address: new Uint8Array(5), linkInfo: { device: { kind } as LinkKindData } },
    NLM_F_CREATE | NLM_F_EXCL,
  );
}

/** Reads whether checksum offload of the devices to other nodes is on. Empty if the kernel does not tell. */
export function readOffloads(
  system: System,
  devices: readonly Pick<Link, "name">[],
  links: readonly Link[],
): Facts["offloads"] {
  const netlink = new BlockingNetlink(system.openNetlink(NETLINK_GENERIC), "the host's namespace");
  try {
    const family = readFamily(netlink.run(familyQuestion(ETHTOOL_GENL_NAME)));
    if (family === undefined) return [];
    return devices.flatMap(({ name }) => {
      const link = links.find((one) => one.name === name);
      if (link === undefined) return [];
      return [{ device: name, isOn: readOffload(family, netlink.run(offloadQuestion(family, link))) }];
    });
  } catch (error) {
    if (isNetlinkError(error)) return [];
    throw error;
  } finally {
    netlink.close();
  }
}

/** Finds the configured link of the host in /sys. */
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import { type Link, linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { findLink } from "../../pkg/kernel/read.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import type { Files } from "../../pkg/sys/system.ts";
import type { Wanted } from "./config.ts";

const PCI = "/sys/bus/pci/devices";
const AUXILIARY = "/sys/bus/auxiliary/devices";
const PCI_DRIVERS = "/sys/bus/pci/drivers";
/** Drivers that give a device to a user-space program (DPDK). The kernel has no link for such a device. */
const USERSPACE_DRIVERS = ["vfio-pci", "uio_pci_generic", "igb_uio"];

/** True for a PCI device that a user-space program drives. */
export function isUserspaceDevice(files: Files, wanted: Wanted): boolean {
  const address = wanted.by === "pciBusID" ? wanted.address : wanted.by === "deviceID" ? wanted.id : undefined;
  if (address === undefined) return false;
  return USERSPACE_DRIVERS.some((driver) => files.status(`${PCI_DRIVERS}/${driver}/${address}`) !== undefined);
}

/** Throws `CniError` 7 if the host has no such link. */
export function findWanted(host: BlockingNetlink, files: Files, wanted: Wanted): Link {
  switch (wanted.by) {
    case "device":
      return found(findLink(host, wanted.name), `device: there is no link ${wanted.name} in ${host.where}`);
    case "hwaddr": {
      const links = host.dump(linkDump()).map(parseLink);
      const link = links.find(({ mac }) => mac === wanted.mac);
      return found(link, `hwaddr: no link in ${host.where} has the address ${wanted.mac}`);
    }
    case "kernelpath":
      return linkIn(host, files, "kernelpath", [`${wanted.path}/net`]);
    case "pciBusID":
      return linkIn(host, files, "pciBusID", pciFolders(files, wanted.address));
    case "deviceID": {
      const isPci = files.status(`${PCI}/${wanted.id}`) !== undefined;
      const folders = isPci ? pciFolders(files, wanted.id) : [`${AUXILIARY}/${wanted.id}/net`];
      return linkIn(host, files, "runtimeConfig.deviceID", folders);
    }
  }
}

/** Returns the folders with a PCI device's links. A virtio device's link belongs to the device one level below. */
function pciFolders(files: Files, address: string): string[] {
  const folder = `${PCI}/${address}`;
  const virtio = namesIn(files, folder).filter((name) => name.startsWith("virtio"));
  return [`${folder}/net`, ...virtio.map((name) => `${folder}/${name}/net`)];
}

/** Returns the first link that these folders name and the host's namespace has. */
function linkIn(host: BlockingNetlink, files: Files, key: string, folders: readonly string[]): Link {
  for (const name of folders.flatMap((folder) => namesIn(files, folder))) {
    const link = findLink(host, name);
    if (link !== undefined) return link;
  }
  return found(undefined, `${key}: no link of ${host.where} is in ${folders.join(", ")}`);
}

function namesIn(files: Files, folder: string): string[] {
  try {
    return files.readDirectory(folder).sort();
  } catch (error) {
    if (isSystemError(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}

function found(link: Link | undefined, message: string): Link {
  if (link !== undefined) return link;
  throw new CniError(ErrorCode.invalidConfig, `${message}: correct the configuration, or check where the device is`);
}

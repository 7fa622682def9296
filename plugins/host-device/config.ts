/** The configuration of `host-device`: which of the host's devices is meant. */
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";

export type Wanted =
  | { readonly by: "device"; readonly name: string }
  | { readonly by: "hwaddr"; readonly mac: string }
  /** A directory of /sys/devices, which has the link's name in `net`. */
  | { readonly by: "kernelpath"; readonly path: string }
  | { readonly by: "pciBusID"; readonly address: string }
  /** A PCI or an auxiliary device, as device plugins name it. */
  | { readonly by: "deviceID"; readonly id: string };

const SYS_DEVICES = "/sys/devices/";
/** The name of a device of a bus; a path must not be smuggled in. */
const DEVICE_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.:-]*$/;

/** The runtime's device counts before all keys, and those in the reference's order. Throws `CniError` 7 and 2. */
export function parseWanted({ config, runtimeConfig }: CniRequest): Wanted {
  if (config.optionalBoolean("useInterfaceNetwork") === true) {
    const message =
      "useInterfaceNetwork: true is not supported: the device's own addresses do not go with it, use ipam";
    throw new CniError(ErrorCode.unsupportedField, message);
  }
  const id = runtimeConfig.optionalString("deviceID");
  if (id) {
    if (!DEVICE_ID.test(id)) throw runtimeConfig.invalid("deviceID", "the name of a PCI or auxiliary device");
    return { by: "deviceID", id };
  }
  const name = config.optionalString("device");
  if (name) return { by: "device", name };
  const mac = config.optionalMac("hwaddr");
  if (mac !== undefined) return { by: "hwaddr", mac };
  const path = config.optionalString("kernelpath");
  if (path) {
    if (path.startsWith(SYS_DEVICES) && !path.split("/").includes("..")) return { by: "kernelpath", path };
    throw config.invalid("kernelpath", `an absolute path below ${SYS_DEVICES}`);
  }
  const address = config.optionalString("pciBusID");
  if (address) {
    if (DEVICE_ID.test(address)) return { by: "pciBusID", address };
    throw config.invalid("pciBusID", "the address of a PCI device, like 0000:00:1f.6");
  }
  throw config.invalid("device", '"device", "hwaddr", "kernelpath" or "pciBusID"');
}

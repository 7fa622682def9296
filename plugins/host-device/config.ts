/** Parses the configuration of `host-device`, which selects one of the host's devices. */
import { CniError, ErrorCode } from "../../pkg/cni/errors.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";

export type Wanted =
  | { readonly by: "device"; readonly name: string }
  | { readonly by: "hwaddr"; readonly mac: string }
  /** A directory of /sys/devices whose folder `net` has the link's name. */
  | { readonly by: "kernelpath"; readonly path: string }
  | { readonly by: "pciBusID"; readonly address: string }
  /** The id of a PCI or auxiliary device, in the format of device plugins. */
  | { readonly by: "deviceID"; readonly id: string };

const SYS_DEVICES = "/sys/devices/";
/** The name of a device of a bus. Slashes are not allowed, so that it cannot be a path. */
const DEVICE_ID = /^[a-zA-Z0-9][a-zA-Z0-9_.:-]*$/;

/** Uses the runtime's device, else the first key in the reference's order. Throws `CniError` 7 and 2. */
export function parseWanted({ config, runtimeConfig }: CniRequest): Wanted {
  if (config.optionalBoolean("useInterfaceNetwork") === true) {
    const message =
      "useInterfaceNetwork: true is not supported: the device's own addresses are not moved with it; use ipam";
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

import { expect, test } from "vitest";
import { ConfigObject } from "../../pkg/cni/config.ts";
import type { CniRequest } from "../../pkg/cni/plugin.ts";
import { parseWanted } from "./config.ts";

function parse(values: Record<string, unknown>) {
  const config = new ConfigObject(values);
  return parseWanted({ config, runtimeConfig: config.object("runtimeConfig") } as unknown as CniRequest);
}

test("uses the runtime's device, else the first key in the reference's order", () => {
  const all = {
    pciBusID: "0000:00:05.0",
    kernelpath: "/sys/devices/pci0",
    hwaddr: "0A:00:00:00:00:01",
    device: "dev0",
  };
  expect(parse({ ...all, runtimeConfig: { DeviceID: "mlx5_core.sf.4" } })).toEqual({
    by: "deviceID",
    id: "mlx5_core.sf.4",
  });
  expect(parse(all)).toEqual({ by: "device", name: "dev0" });
  expect(parse({ ...all, device: "" })).toEqual({ by: "hwaddr", mac: "0a:00:00:00:00:01" });
  expect(parse({ ...all, device: "", hwaddr: "" })).toEqual({ by: "kernelpath", path: "/sys/devices/pci0" });
  expect(parse({ pciBusID: "0000:00:05.0" })).toEqual({ by: "pciBusID", address: "0000:00:05.0" });
});

test.each([
  [{}, 7, /"device", "hwaddr", "kernelpath" or "pciBusID"/],
  [{ runtimeConfig: { deviceID: "../net" } }, 7, /runtimeConfig.deviceID: expected the name/],
  [{ pciBusID: "0000:00:05.0/net" }, 7, /pciBusID: expected the address/],
  [{ kernelpath: "/sys/class/net/eth0" }, 7, /kernelpath: expected an absolute path below \/sys\/devices\//],
  [{ kernelpath: "/sys/devices/../class" }, 7, /kernelpath/],
  [{ hwaddr: "0a:00" }, 7, /hwaddr/],
  [{ device: 1 }, 7, /device: expected a string, got 1/],
  [{ device: "dev0", useInterfaceNetwork: true }, 2, /useInterfaceNetwork: true is not supported/],
])("rejects %j", (values, code, message) => {
  expect(() => parse(values)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
});

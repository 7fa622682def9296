/** Derives the VXLAN devices to test, with the addresses behind them. Pure. */
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import type { DataPath } from "../../../pkg/reconcile/data-path.ts";
import type { GuardedDevice } from "../facts.ts";

/** Returns the VXLAN devices that a pass has programmed, with their indexes and peers. */
export function guardedDevices(dataPath: DataPath, { links }: Pick<KernelSnapshot, "links">): GuardedDevice[] {
  const devices = dataPath.devices.flatMap(({ name, addresses }) => {
    const index = links.find((link) => link.name === name)?.index;
    const local = addresses[0]?.address;
    if (index === undefined || local === undefined) return [];
    return [{ name, index, local, peers: [] }];
  });
  return withPeers(devices, dataPath);
}

/** Returns the devices with the peers that `dataPath` has. */
export function withPeers(devices: readonly GuardedDevice[], { neighbours }: DataPath): GuardedDevice[] {
  return devices.map((one) => ({
    ...one,
    peers: neighbours.flatMap(({ device, address }) =>
      device === one.name && address.family === one.local.family ? [address] : [],
    ),
  }));
}

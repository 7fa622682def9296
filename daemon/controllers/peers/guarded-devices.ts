/** Derives the VXLAN devices to test, with the addresses behind them. Pure. */
import type { KernelSnapshot } from "../../../pkg/kernel/snapshot.ts";
import type { DataPath } from "../../../pkg/reconcile/data-path.ts";
import type { GuardedDevice } from "../facts.ts";

/** Returns the VXLAN devices that a pass has programmed, with their indexes and peers. */
export function guardedDevices(
  { devices, neighbours }: DataPath,
  { links }: Pick<KernelSnapshot, "links">,
): GuardedDevice[] {
  return devices.flatMap(({ name, addresses }) => {
    const index = links.find((link) => link.name === name)?.index;
    const local = addresses[0]?.address;
    if (index === undefined || local === undefined) return [];
    const peers = neighbours.flatMap(({ device, address }) =>
      device === name && address.family === local.family ? [address] : [],
    );
    return [{ name, index, local, peers }];
  });
}

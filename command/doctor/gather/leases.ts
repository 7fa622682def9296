/**
 * Reads host-local's reservations: leaked ones, and the use of each subnet. `own` are the reservations of the pods'
 * network.
 */
import { formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix } from "../../../pkg/ip/prefix.ts";
import { capacityOf, isWithin } from "../../../pkg/ipam/ranges.ts";
import type { Reservation } from "../../../pkg/ipam/reservation.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { lookAtReservations } from "../../ipam/look.ts";
import type { AttachSettings } from "../../node/networks.ts";
import { podRange } from "../../node/ranges.ts";
import type { KnownNodes } from "../../node/run-dir.ts";
import type { LeaseFacts } from "../facts.ts";

export function readLeases(
  system: System,
  confDir: string,
  { dataDir, network }: AttachSettings,
  table: KnownNodes | undefined,
): { readonly leases: LeaseFacts; readonly own: readonly Reservation[] } {
  const { networks, obstacle } = lookAtReservations(system, { dataDir, confDir });
  const leaked = networks.flatMap(({ name, judged }) =>
    judged
      .filter(({ state }) => state === "leaked")
      .map(({ address, reason }) => ({ network: name, address: formatAddress(address), reason })),
  );
  const own = networks.find(({ name }) => name === network)?.reservations ?? [];
  const uses = (table?.node.subnets ?? []).map((subnet) => {
    const range = podRange(subnet);
    const used = own.filter(({ address }) => isWithin(range, address)).length;
    return { subnet: formatPrefix(subnet), used, capacity: capacityOf(range) };
  });
  return { leases: { dataDir, isComplete: obstacle === undefined, leaked, uses }, own };
}

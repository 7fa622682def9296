/** Addresses: reservations without pods, and subnets that are nearly used up. */
import type { Check, Finding } from "../finding.ts";

export const leakedAddresses: Check = {
  name: "leaked-addresses",
  group: "addresses",
  about: "every reserved address has a pod",
  judge({ leases, command }) {
    const { leaked, dataDir } = leases;
    if (leaked.length === 0) return [];
    const shown = leaked.slice(0, 5).map(({ network, address }) => `${address} of ${network}`);
    const others = leaked.length - shown.length;
    return [
      {
        severity: "warning",
        seen: `${leaked.length} reserved address${leaked.length === 1 ? " has" : "es have"} no pod: ${shown.join(", ")}${others > 0 ? `, and ${others} more` : ""}`,
        why: "they are given to nobody; in the end no pod can be started",
        run: `${command} ipam gc --yes --data-dir ${dataDir}`,
      },
    ];
  },
};

const NEARLY = 0.9;

export const addressUse: Check = {
  name: "address-use",
  group: "addresses",
  about: "this node's subnets have addresses left",
  judge({ leases }) {
    return leases.uses
      .filter(({ used, capacity }) => used >= Number(capacity) * NEARLY)
      .map(
        ({ subnet, used, capacity }): Finding => ({
          severity: BigInt(used) >= capacity ? "error" : "warning",
          seen: `pods have ${used} of the ${capacity} addresses of ${subnet}`,
          why: "without a free one no pod can be started here",
          advice: "move pods to other nodes, lower kubelet's maxPods, or give nodes larger podCIDRs",
        }),
      );
  },
};

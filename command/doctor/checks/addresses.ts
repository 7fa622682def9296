/** Checks of addresses: reservations without pods, and subnets that are nearly used up. */

import type { Finding } from "../../../pkg/backend/inspection.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix } from "../../../pkg/ip/prefix.ts";
import type { Check } from "../finding.ts";

export const leakedAddresses: Check = {
  name: "leaked-addresses",
  group: "addresses",
  about: "every reserved address belongs to a pod",
  judge({ leases, command }) {
    const { leaked, dataDir } = leases;
    if (leaked.length === 0) return [];
    const shown = leaked.slice(0, 5).map(({ network, address }) => `${address} of ${network}`);
    const others = leaked.length - shown.length;
    return [
      {
        severity: "warning",
        seen: `${leaked.length} reserved address${leaked.length === 1 ? " has" : "es have"} no pod: ${shown.join(", ")}${others > 0 ? `, and ${others} more` : ""}`,
        why: "host-local does not assign these addresses again; once a subnet has no free address, no pod can start",
        run: `${command} ipam gc --yes --data-dir ${dataDir}`,
      },
    ];
  },
};

const OUTSIDE_SHOWN = 16;

export const outsidePods: Check = {
  name: "outside-pods",
  group: "addresses",
  about: "every pod's address is in a subnet of this node",
  judge({ renumbering, table, attachment, command }) {
    if (renumbering === undefined || table === undefined || renumbering.outside.length === 0) return [];
    const addresses = renumbering.outside.map(({ address }) => formatAddress(address));
    const others = addresses.length - OUTSIDE_SHOWN;
    const kept = renumbering.retained.gateways.filter(({ held }) => held !== "none");
    const gateways = kept.map(({ gateway }) => formatAddress(gateway.address)).join(", ");
    return [
      {
        severity: "error",
        seen:
          `pods run with addresses outside this node's subnets (${table.node.subnets.map(formatPrefix).join(", ")}): ` +
          `${addresses.slice(0, OUTSIDE_SHOWN).join(", ")}${others > 0 ? `, and ${others} more (${command} ipam ls)` : ""}`,
        why: "the Node was registered again with other podCIDRs, so other nodes cannot reach these pods",
        advice:
          "delete these pods, so that their controllers create them again (find them with kubectl get pods -A -o wide)" +
          (kept.length === 0
            ? ""
            : `; until then, leave ${gateways} on ${attachment.bridge}: it is their gateway, and weftd removes it with the last of these pods`),
      },
    ];
  },
};

const NEARLY = 0.9;

export const addressUse: Check = {
  name: "address-use",
  group: "addresses",
  about: "this node's subnets have free addresses",
  judge({ leases }) {
    return leases.uses
      .filter(({ used, capacity }) => used >= Number(capacity) * NEARLY)
      .map(
        ({ subnet, used, capacity }): Finding => ({
          severity: BigInt(used) >= capacity ? "error" : "warning",
          seen: `pods use ${used} of the ${capacity} addresses of ${subnet}`,
          why: "if no address is free, no pod can start on this node",
          advice: "move pods to other nodes, lower kubelet's maxPods, or give nodes larger podCIDRs",
        }),
      );
  },
};

/**
 * The node's own rules, in one table, because one transaction changes them. They masquerade pods' traffic to the
 * outside. They accept VXLAN packets only from the cluster's nodes: VXLAN has no authentication (RFC 7348 section 7),
 * so any other host could inject frames into the pods' network.
 */
import { FILTER_PRIORITY } from "../footprint.ts";
import type { Address, Family } from "../ip/address.ts";
import { counter, drop, matchFamily, matchSourceInSet } from "../nft/expressions.ts";
import { matchVxlan } from "../nft/protocol-matches.ts";
import type { NftSet } from "../nft/set.ts";
import type { Rule, Table } from "../nft/table.ts";
import { distinct, type MasqueradeSettings, nodeMasquerade } from "./masquerade.ts";

/** The properties that identify packets for a VTEP. */
export interface Tunnel {
  /** The family of the underlay. */
  readonly family: Family;
  readonly port: number;
  readonly vni: number;
}

export interface NodeRulesSettings extends MasqueradeSettings {
  /** This node's VTEPs. Without VTEPs, VXLAN packets are not filtered. */
  readonly tunnels: readonly Tunnel[];
  /** All addresses of the other nodes. */
  readonly senders: readonly Address[];
}

const FAMILIES = [4, 6] as const;
const sendersSet = (family: Family) => `vxlan-senders${family}`;

/** `table inet weft`. */
export function nodeRules({ tunnels, senders, ...masquerade }: NodeRulesSettings): Table {
  const table = nodeMasquerade(masquerade);
  if (tunnels.length === 0) return table;
  const families = FAMILIES.filter((family) => tunnels.some((tunnel) => tunnel.family === family));
  return {
    ...table,
    sets: [...table.sets, ...families.map((family) => sendersOf(family, senders))],
    chains: [
      ...table.chains,
      { name: "input", type: "filter", hook: "input", priority: FILTER_PRIORITY, rules: tunnels.map(tunnelRule) },
    ],
  };
}

function sendersOf(family: Family, senders: readonly Address[]): NftSet {
  return {
    kind: "addresses",
    name: sendersSet(family),
    comment: "the cluster's nodes",
    family,
    elements: distinct(senders.filter((address) => address.family === family)).map((address) => ({ address })),
  };
}

/** Matches the VNI, too: another program's overlay may use the same port (Docker's uses 4789). */
function tunnelRule({ family, port, vni }: Tunnel): Rule {
  return {
    comment: `VXLAN from nobody's node, IPv${family}`,
    statements: [
      matchFamily(family),
      matchVxlan({ port, vni }),
      matchSourceInSet(family, sendersSet(family), { invert: true }),
      counter,
      drop,
    ],
  };
}

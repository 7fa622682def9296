/**
 * The node's own rules, in one table, because one transaction changes them. They masquerade pods' traffic to the
 * outside. They accept VXLAN packets only from the cluster's nodes: VXLAN has no authentication (RFC 7348 section 7),
 * so any other host could inject frames into the pods' network.
 */
import { FILTER_PRIORITY } from "../footprint.ts";
import { type Address, addressToBytes, type Family, isSameAddress } from "../ip/address.ts";
import type { Request } from "../netlink/message.ts";
import { counter, drop, matchFamily, matchSourceInSet } from "../nft/expressions.ts";
import { matchVxlan } from "../nft/protocol-matches.ts";
import type { NftSet } from "../nft/set.ts";
import { addElements, deleteFromSet, type Rule, type Table } from "../nft/table.ts";
import { distinct, exemptSet, type MasqueradeSettings, nodeMasquerade } from "./masquerade.ts";

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

/** A change of the addresses in `NodeRulesSettings`. */
export interface AddressChange {
  readonly newSenders: readonly Address[];
  /** The change of `exempt`. */
  readonly unmasqueraded: { readonly new: readonly Address[]; readonly gone: readonly Address[] };
}

/**
 * Returns the table of `nodeRules` with changed addresses, and the requests for the difference. The commit fails if the
 * kernel's sets lack an address that is gone.
 */
export function changeAddresses(table: Table, { newSenders, unmasqueraded }: AddressChange) {
  const requests: Request[] = [];
  const sets = table.sets.map((set): NftSet => {
    if (set.kind !== "addresses") return set;
    const isSenders = set.name === sendersSet(set.family);
    const isExempt = set.name === exemptSet(set.family);
    const [added, gone] = isSenders ? [newSenders, []] : isExempt ? [unmasqueraded.new, unmasqueraded.gone] : [[], []];
    const has = (address: Address) => set.elements.some((one) => isSameAddress(one.address, address));
    const ofSet = (addresses: readonly Address[], isHeld: boolean) =>
      distinct(addresses.filter((address) => address.family === set.family && has(address) === isHeld));
    const [more, less] = [ofSet(added, false).map((address) => ({ address })), ofSet(gone, true)];
    if (more.length + less.length === 0) return set;
    const isGone = (address: Address) => less.some((one) => isSameAddress(one, address));
    requests.push(
      ...deleteFromSet(
        table,
        set.name,
        less.map((address) => ({ key: { value: addressToBytes(address) } })),
      ),
    );
    requests.push(...addElements(table, { ...set, elements: more }, { exclusive: false }));
    return { ...set, elements: [...set.elements.filter(({ address }) => !isGone(address)), ...more] };
  });
  return { table: { ...table, sets }, requests };
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

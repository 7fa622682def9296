/**
 * The table that maps ports of the node to pods, for all attachments of the node. Each mapped port is an element of a
 * map, and each source whose connections are masqueraded is an element of another one, both with the attachment's mark
 * as comment.
 *
 * A connection to one of the node's own addresses passes the chain `translate`. It sets a bit of the packet's mark if
 * the connection needs the node's address as source: for the pod itself and its neighbours, whose replies would
 * otherwise not pass the node, and for the node's loopback addresses. Then it translates the destination. `postrouting`
 * masquerades by that bit.
 *
 * A port of one address has precedence over the same port of all addresses, and a port for certain connections over one
 * for all connections. Each of these layers has its own maps, which are looked up in order. A translation ends the
 * lookups, so the sources of one layer never affect another layer's ports. The layers with conditions exist only while
 * ports use them.
 *
 * An index of the attachments and their pods' addresses (`port-map-index.ts`) and a stamp (`pkg/nft/stamp.ts`) let ADD
 * and DEL work on single elements.
 */
import { BEHIND_DSTNAT_PRIORITY, DEFAULT_MARK_BIT, POD_TABLE, SRCNAT_PRIORITY } from "../footprint.ts";
import type { Address, Family } from "../ip/address.ts";
import type { ObservedTable } from "../nft/comparison.ts";
import {
  counter,
  destinationByMap,
  jump,
  masquerade,
  matchAddress,
  matchFamily,
  matchLocalDestination,
  matchMark,
  matchTranslatedDestination,
  returnToCaller,
  type Statement,
  setMark,
  verdictByMap,
} from "../nft/expressions.ts";
import type { Chain, Rule, Table } from "../nft/table.ts";
import { loopbackGuard } from "./loopback-guard.ts";
import { type WiredSet, withIndex } from "./port-map-index.ts";
import {
  LAYERS,
  type Layer,
  layerSelectors,
  layerSets,
  MARK_CHAIN,
  markChainName,
  setName,
} from "./port-map-layers.ts";
import type { PortMap } from "./port-mapping.ts";

/** In the order of their sets and rules. */
export const FAMILIES = [4, 6] as const;

/** The parts of the table that exist only while they are used. */
export interface PortMapParts {
  /** Each bit has a chain and a rule. */
  readonly markBits: readonly number[];
  /** The families with layers for conditions. */
  readonly conditional: readonly Family[];
}

export function partsOf({ mappings, masquerades }: PortMap): PortMapParts {
  const bits = new Set([DEFAULT_MARK_BIT, ...masquerades.map(({ markBit }) => markBit)]);
  const isConditional = (family: Family) =>
    mappings.some(({ host, target }) => host.condition !== undefined && target.family === family);
  return { markBits: [...bits].sort((a, b) => a - b), conditional: FAMILIES.filter(isConditional) };
}

/** The parts of an observed table. */
export function observedParts({ chains, sets }: ObservedTable): PortMapParts {
  const bits = chains.flatMap((name) => MARK_CHAIN.exec(name)?.[1] ?? []).map(Number);
  return {
    markBits: bits.sort((a, b) => a - b),
    conditional: FAMILIES.filter((family) => sets.includes(setName("conditional-ports", family))),
  };
}

export function hasParts(parts: PortMapParts, needed: PortMapParts): boolean {
  return (
    needed.markBits.every((bit) => parts.markBits.includes(bit)) &&
    needed.conditional.every((family) => parts.conditional.includes(family))
  );
}

/**
 * The digest of the whole table's layout (`layoutDigest`). It changes with each change of sets, chains or rules;
 * port-map.test.ts compares it.
 */
const LAYOUT = 0x2da2_232e;

/** The parts in a stamp: the number of families with layers for conditions, these families, the mark bits. */
function stampOf({ markBits, conditional }: PortMapParts) {
  return { layout: LAYOUT, parts: [conditional.length, ...conditional, ...markBits] };
}

/** Parses the parts in a stamp. */
export function partsOfStamp([count = 0, ...rest]: readonly number[]): PortMapParts {
  const families = rest.slice(0, count);
  return { markBits: rest.slice(count), conditional: FAMILIES.filter((family) => families.includes(family)) };
}

/** The maps of ports and their index with the elements of `map`; without those that have none. */
export function portMapElements(map: PortMap): WiredSet[] {
  const families = FAMILIES.filter((family) => map.mappings.some(({ target }) => target.family === family));
  const sets = families.flatMap((family) => LAYERS.flatMap((layer) => layerSets(layer, family, map)));
  const filled = sets.filter(({ elements }) => elements.length > 0);
  return withIndex(map, filled).filter(({ wire }) => wire.length > 0);
}

/** Makes `table inet weft_portmap`. Chains depend only on the parts; ports are elements. */
export function portMapTable(map: PortMap, parts: PortMapParts = partsOf(map)): Table {
  const { markBits, conditional } = parts;
  const layersOf = (family: Family) =>
    LAYERS.filter(({ hasCondition }) => !hasCondition || conditional.includes(family));
  const sets = FAMILIES.flatMap((family) => layersOf(family).flatMap((layer) => layerSets(layer, family, map)));
  return {
    family: "inet",
    name: POD_TABLE.portmap,
    comment: "weft: ports of the node that lead to pods",
    stamp: stampOf(parts),
    sets: withIndex(map, sets).map(({ set }) => set),
    chains: [
      ...markBits.map(markChain),
      { name: "translate", rules: FAMILIES.flatMap((family) => translationRules(family, layersOf(family))) },
      { ...natChain("prerouting"), rules: [translateRule] },
      { ...natChain("output"), rules: [translateRule] },
      {
        name: "postrouting",
        type: "nat",
        hook: "postrouting",
        priority: SRCNAT_PRIORITY,
        rules: markBits.map(masqueradeRule),
      },
      loopbackGuard("loopback"),
    ],
  };
}

/** The parts of a table without special ports. */
export const PLAIN_TABLE_PARTS: PortMapParts = { markBits: [DEFAULT_MARK_BIT], conditional: [] };

/** All parts. */
export const WHOLE_TABLE_PARTS: PortMapParts = { markBits: [DEFAULT_MARK_BIT], conditional: FAMILIES };

const natChain = (hook: "prerouting" | "output") =>
  ({ name: hook, type: "nat", hook, priority: BEHIND_DSTNAT_PRIORITY }) as const;

function markChain(bit: number): Chain {
  return { name: markChainName(bit), rules: [{ comment: "to be masqueraded", statements: [setMark(1 << bit)] }] };
}

function masqueradeRule(bit: number): Rule {
  return {
    comment: `connections with bit ${bit} of their mark`,
    statements: [matchTranslatedDestination, matchMark(1 << bit), counter, masquerade({ fullyRandom: true })],
  };
}

const translateRule: Rule = {
  comment: "connections to the node's own addresses",
  statements: [matchLocalDestination, jump("translate")],
};

const IPV6_LOOPBACK: Address = { family: 6, value: 1n };

function translationRules(family: Family, layers: readonly Layer[]): Rule[] {
  const rule = (comment: string, ...statements: Statement[]): Rule => ({
    comment: `${comment}, IPv${family}`,
    statements: [matchFamily(family), ...statements],
  });
  return [
    // The kernel never routes ::1 to another device; an immediate refusal is better than no answer.
    ...(family === 6 ? [rule("stays on the node", matchAddress("daddr", IPV6_LOOPBACK), returnToCaller)] : []),
    ...layers.flatMap((layer) => {
      const { ports, masqueraded } = layerSelectors(layer, family);
      return [
        rule(
          `need the node's address: ports ${layer.about}`,
          verdictByMap(masqueraded, setName(layer.masquerade, family)),
        ),
        rule(`ports ${layer.about}`, destinationByMap(family, ports, setName(layer.ports, family))),
      ];
    }),
  ];
}

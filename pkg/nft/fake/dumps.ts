/** The messages that describe objects: in dumps, in answers to GET, and as echoes. */
import { be32, be64, encode, type UnknownAttribute } from "../../netlink/codec.ts";
import { decode, type Message } from "../../netlink/message.ts";
import {
  NFPROTO_UNSPEC,
  NFT_MSG_GETCHAIN,
  NFT_MSG_GETRULE,
  NFT_MSG_GETSET,
  NFT_MSG_GETSETELEM,
  NFT_MSG_GETTABLE,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE_OUTLINE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  type SetElement,
} from "../../netlink/nftables.ts";
import { chainByName, setByName } from "./draft.ts";
import { findElement, inDumpOrder } from "./element-store.ts";
import { existing, required } from "./refusal.ts";
import {
  type ChainState,
  chainUse,
  type RuleState,
  type RulesetState,
  type SetState,
  type TableState,
  tableKey,
} from "./state.ts";
import { type Told, told } from "./told.ts";

/** NFTA_TABLE_OWNER, NFTA_RULE_POSITION: not in weft's attribute tables. */
const OWNER = 7;
const POSITION = 6;
/** The number of elements in one message of a dump. */
const ELEMENTS_PER_MESSAGE = 100;

const unknown = (type: number, bytes: Uint8Array): { readonly unknown: readonly UnknownAttribute[] } => ({
  unknown: [{ type, bytes }],
});

export function tellTable({ family, name, flags, handle, userdata, owner, chains, sets }: TableState): Told {
  return told(
    NFT_MSG_NEWTABLE,
    { family },
    {
      ...{ name, flags, handle, userdata, use: chains.size + sets.size },
      ...(owner === undefined ? {} : unknown(OWNER, encode(be32, owner))),
    },
  );
}

export function tellChain(table: TableState, chain: ChainState): Told {
  const { handle, name, base, userdata } = chain;
  const hanging =
    base === undefined
      ? {}
      : {
          hook: { number: base.hook, priority: base.priority >>> 0, device: base.device },
          ...{ policy: base.policy, type: base.type },
        };
  const use = chainUse(table, chain);
  return told(
    NFT_MSG_NEWCHAIN,
    { family: table.family },
    { table: table.name, handle, name, ...hanging, use, userdata },
  );
}

export function tellRule({ family, name }: TableState, chain: ChainState, rule: RuleState): Told {
  const before = chain.rules[chain.rules.indexOf(rule) - 1];
  const { handle, encoded, userdata } = rule;
  return told(
    NFT_MSG_NEWRULE_OUTLINE,
    { family },
    {
      ...{ table: name, chain: chain.name, handle, expressions: encoded, userdata },
      ...(before === undefined ? {} : unknown(POSITION, encode(be64, before.handle))),
    },
  );
}

export function tellSet({ family, name: table }: TableState, set: SetState): Told {
  const { elements: _, named: _named, flags, dataLength, dataType, description, ...rest } = set;
  const data = dataType === undefined ? {} : { dataType, dataLength: dataLength ?? VERDICT_BYTES };
  return told(NFT_MSG_NEWSET, { family }, { ...{ table, flags: flags || undefined, description, ...rest }, ...data });
}

/** sizeof(struct nft_verdict) */
const VERDICT_BYTES = 16;

export function tellElements(table: TableState, set: SetState, elements: readonly SetElement[]): Told {
  return told(NFT_MSG_NEWSETELEM, { family: table.family }, { table: table.name, set: set.name, elements });
}

/** The answers to a dump request (NLM_F_DUMP). Throws `Refusal`. */
export function dump(tables: RulesetState, message: Message): Told[] {
  switch (message.type) {
    case NFT_MSG_GETTABLE.type:
      return ofFamily(tables, decode(NFT_MSG_GETTABLE, message).header.family).map(tellTable);
    case NFT_MSG_GETCHAIN.type: {
      const { header } = decode(NFT_MSG_GETCHAIN, message);
      return ofFamily(tables, header.family).flatMap((table) =>
        [...table.chains.values()].map((chain) => tellChain(table, chain)),
      );
    }
    case NFT_MSG_GETRULE.type:
      return dumpRules(tables, message);
    case NFT_MSG_GETSET.type: {
      const { header, attributes } = decode(NFT_MSG_GETSET, message);
      const meant =
        attributes.table === undefined
          ? ofFamily(tables, header.family)
          : [find(tables, header.family, attributes.table)];
      return meant.flatMap((table) => [...table.sets.values()].map((set) => tellSet(table, set)));
    }
    case NFT_MSG_GETSETELEM.type: {
      const { header, attributes } = decode(NFT_MSG_GETSETELEM, message);
      const table = find(tables, header.family, attributes.table);
      return dumpElements(table, setByName(table, attributes.set));
    }
    default:
      throw new Error(`the fake nftables has no dump of type ${message.type}`);
  }
}

/** Dumping the rules of a missing table or chain gives an empty dump, not a refusal. */
function dumpRules(tables: RulesetState, message: Message): Told[] {
  const { header, attributes } = decode(NFT_MSG_GETRULE, message);
  const { table: name, chain } = attributes;
  return ofFamily(tables, header.family)
    .filter((table) => name === undefined || table.name === name)
    .flatMap((table) =>
      [...table.chains.values()]
        .filter((each) => name === undefined || chain === undefined || each.name === chain)
        .flatMap((each) => each.rules.map((rule) => tellRule(table, each, rule))),
    );
}

/** The kernel ends the dump with a message without elements. */
function dumpElements(table: TableState, set: SetState): Told[] {
  const elements = inDumpOrder(set);
  const count = Math.ceil(elements.length / ELEMENTS_PER_MESSAGE);
  return Array.from({ length: count + 1 }, (_, at) =>
    tellElements(table, set, elements.slice(at * ELEMENTS_PER_MESSAGE, (at + 1) * ELEMENTS_PER_MESSAGE)),
  );
}

/** The answers to a GET request without NLM_F_DUMP. Throws `Refusal`. */
export function get(tables: RulesetState, message: Message): Told[] {
  switch (message.type) {
    case NFT_MSG_GETTABLE.type: {
      const { header, attributes } = decode(NFT_MSG_GETTABLE, message);
      return [tellTable(find(tables, header.family, attributes.name))];
    }
    case NFT_MSG_GETCHAIN.type: {
      const { header, attributes } = decode(NFT_MSG_GETCHAIN, message);
      const table = find(tables, header.family, attributes.table);
      return [tellChain(table, chainByName(table, attributes.name))];
    }
    case NFT_MSG_GETRULE.type: {
      const { header, attributes } = decode(NFT_MSG_GETRULE, message);
      const table = find(tables, header.family, attributes.table);
      const chain = chainByName(table, attributes.chain);
      const handle = required(attributes.handle);
      return [tellRule(table, chain, existing(chain.rules.find((rule) => rule.handle === handle)))];
    }
    case NFT_MSG_GETSET.type: {
      const { header, attributes } = decode(NFT_MSG_GETSET, message);
      const table = find(tables, header.family, attributes.table);
      return [tellSet(table, setByName(table, attributes.name))];
    }
    case NFT_MSG_GETSETELEM.type:
      return getElements(tables, message);
    default:
      throw new Error(`the fake nftables does not support queries of type ${message.type}`);
  }
}

function getElements(tables: RulesetState, message: Message): Told[] {
  const { header, attributes } = decode(NFT_MSG_GETSETELEM, message);
  const table = find(tables, header.family, attributes.table);
  const set = setByName(table, attributes.set);
  return required(attributes.elements).map((element) =>
    tellElements(table, set, [existing(findElement(set, element))]),
  );
}

function ofFamily(tables: RulesetState, family: number): TableState[] {
  return [...tables.values()].filter((table) => family === NFPROTO_UNSPEC || table.family === family);
}

function find(tables: RulesetState, family: number, name: string | undefined): TableState {
  return existing(tables.get(tableKey(family, required(name))));
}

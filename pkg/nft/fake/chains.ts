/** NFT_MSG_NEWCHAIN and NFT_MSG_DELCHAIN (nf_tables_newchain, nf_tables_delchain). */
import { decode, type Message, NLM_F_EXCL, NLM_F_REPLACE } from "../../netlink/message.ts";
import { NF_INET_HOOK, NFPROTO, NFT_MSG_DELCHAIN, NFT_MSG_NEWCHAIN, VERDICT } from "../../netlink/nftables.ts";
import { chainByHandle, chainByName, type Draft } from "./draft.ts";
import { checkName, checkUserdata, existing, Refusal, required } from "./refusal.ts";
import { type BaseState, type ChainState, chainUse, nextHandle, type TableState } from "./state.ts";
import { NLM_F_NONREC } from "./tables.ts";

/** NFPROTO_ARP, and NFPROTO_NETDEV, whose base chains belong to a device. */
const NFPROTO_ARP = 3;
const NFPROTO_NETDEV = 5;
const { prerouting, input, output, postrouting } = NF_INET_HOOK;
const INET_HOOKS: readonly number[] = Object.values(NF_INET_HOOK);
/** NF_INET_INGRESS, and NF_NETDEV_INGRESS and NF_NETDEV_EGRESS. */
const INET_INGRESS = 5;
const NETDEV_HOOKS = [0, 1];

const INET_FAMILIES: readonly number[] = [NFPROTO.ip, NFPROTO.ip6, NFPROTO.inet];
/** The hooks of a chain type in a family; undefined if the family does not have the type. */
function hooksOf(type: string, family: number): readonly number[] | undefined {
  const isInet = INET_FAMILIES.includes(family);
  switch (type) {
    case "filter":
      if (family === NFPROTO_ARP) return [0, 1];
      if (family === NFPROTO_NETDEV) return NETDEV_HOOKS;
      return family === NFPROTO.inet ? [...INET_HOOKS, INET_INGRESS] : INET_HOOKS;
    case "nat":
      return isInet ? [prerouting, input, output, postrouting] : undefined;
    case "route":
      return isInet ? [output] : undefined;
    default:
      return undefined;
  }
}

/** NF_IP_PRI_CONNTRACK: nat chains must come after it. */
const CONNTRACK_PRIORITY = -200;

type ChainAttributes = ReturnType<typeof decodeChain>["attributes"];

function decodeChain(message: Message) {
  return decode(NFT_MSG_NEWCHAIN, message);
}

export function newChain(draft: Draft, message: Message): { readonly table: TableState; readonly chain: ChainState } {
  const { header, attributes } = decodeChain(message);
  const table = draft.table(header.family, attributes.table);
  const name = checkName(attributes.name);
  const held =
    attributes.handle === undefined ? table.chains.get(required(name)) : chainByHandle(table, attributes.handle);
  const { policy } = attributes;
  if (policy !== undefined) {
    const isBase = held === undefined ? attributes.hook !== undefined : held.base !== undefined;
    if (!isBase) throw new Refusal("EOPNOTSUPP");
    if (policy !== VERDICT.accept && policy !== VERDICT.drop) throw new Refusal("EINVAL");
  }
  if (held === undefined) return { table, chain: addChain(draft, table, required(name), attributes) };
  if ((message.flags & NLM_F_EXCL) !== 0) throw new Refusal("EEXIST");
  if ((message.flags & NLM_F_REPLACE) !== 0) throw new Refusal("EOPNOTSUPP");
  changeChain(draft, table, held, attributes);
  return { table, chain: held };
}

function addChain(draft: Draft, table: TableState, name: string, attributes: ChainAttributes): ChainState {
  const userdata = checkUserdata(attributes.userdata);
  if (attributes.hook !== undefined && draft.toggled.has(table)) throw new Refusal("EINVAL");
  const base = attributes.hook === undefined ? undefined : parseBase(table, attributes);
  const chain: ChainState = { handle: nextHandle(table), name, base, userdata, rules: [] };
  table.chains.set(name, chain);
  if (base !== undefined) draft.rehooked.add(table);
  draft.isChanged = true;
  return chain;
}

function parseBase({ family }: TableState, { hook = {}, type = "filter", policy }: ChainAttributes): BaseState {
  const number = existing(hook.number);
  const priority = existing(hook.priority) | 0;
  const hooks = existing(hooksOf(type, family));
  if (!hooks.includes(number)) throw new Refusal("EOPNOTSUPP");
  if (type === "nat" && priority <= CONNTRACK_PRIORITY) throw new Refusal("EOPNOTSUPP");
  const needsDevice = family === NFPROTO_NETDEV || number === INET_INGRESS;
  if (needsDevice !== (hook.device !== undefined)) throw new Refusal("EOPNOTSUPP");
  return { type, hook: number, priority, device: hook.device, policy: policy ?? VERDICT.accept };
}

/**
 * Changes a chain. The policy may change, and the name if the request selects the chain by handle; the hook may not.
 */
function changeChain(draft: Draft, table: TableState, chain: ChainState, attributes: ChainAttributes): void {
  const { base } = chain;
  if (attributes.hook !== undefined) {
    if (base === undefined) throw new Refusal("EEXIST");
    assertHangsThere(table, base, attributes);
  }
  const { handle, name, policy } = attributes;
  if (handle !== undefined && name !== undefined && name !== chain.name) rename(table, chain, name);
  if (policy !== undefined && base !== undefined) chain.base = { ...base, policy };
  draft.rehooked.add(table);
  draft.isChanged = true;
}

function assertHangsThere(
  { family }: TableState,
  base: BaseState,
  { hook = {}, type = base.type }: ChainAttributes,
): void {
  const { number, priority } = hook;
  if (number === undefined || priority === undefined) throw new Error("the fake nftables supports only complete hooks");
  if (number !== base.hook || (priority | 0) !== base.priority) throw new Refusal("EOPNOTSUPP");
  existing(hooksOf(type, family));
  if (type !== base.type) throw new Refusal("EEXIST");
}

function rename(table: TableState, chain: ChainState, name: string): void {
  if (table.chains.has(name)) throw new Refusal("EEXIST");
  // Jumps refer to a chain by name in the fake.
  if (chainUse(table, chain) > chain.rules.length)
    throw new Error("the fake nftables does not rename referenced chains");
  const chains = [...table.chains.values()];
  chain.name = name;
  table.chains.clear();
  for (const each of chains) table.chains.set(each.name, each);
}

export function deleteChain(draft: Draft, message: Message): void {
  const { header, attributes } = decode(NFT_MSG_DELCHAIN, message);
  const table = draft.table(header.family, attributes.table);
  const { handle, name } = attributes;
  const chain = handle === undefined ? chainByName(table, name) : chainByHandle(table, handle);
  const use = chainUse(table, chain);
  if ((message.flags & NLM_F_NONREC) !== 0 && use > 0) throw new Refusal("EBUSY");
  // Remove the rules before the check, as the kernel does; the transaction fails anyway.
  const { length } = chain.rules;
  chain.rules.length = 0;
  if (use > length) throw new Refusal("EBUSY");
  table.chains.delete(chain.name);
  if (chain.base !== undefined) draft.rehooked.add(table);
  draft.isChanged = true;
}

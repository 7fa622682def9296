/** The interface of an nf_tables, the fake's or the kernel's, for the contract's cases. */

import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import { decode, type Message, type Request } from "../../../pkg/netlink/message.ts";
import {
  NFPROTO_UNSPEC,
  NFT_MSG_NEWCHAIN,
  NFT_MSG_NEWRULE,
  NFT_MSG_NEWSET,
  NFT_MSG_NEWSETELEM,
  NFT_MSG_NEWTABLE,
  type NftData,
} from "../../../pkg/netlink/nftables.ts";
import { readComment } from "../../../pkg/nft/userdata.ts";
import type { Outcome } from "../outcome.ts";
import { dumps, TABLE } from "./requests.ts";

/** A socket of one program. */
export interface Program {
  readonly netlink: EventedNetlink;
  close(): void;
}

export interface Side {
  readonly netlink: EventedNetlink;
  /** Another program with its own socket. */
  openProgram(): Promise<Program>;
  /** The types of the notifications since the last call, in order. */
  heard(): Promise<readonly number[]>;
}

/** "done", or the kernel's error and the request it rejected. */
export async function commit({ netlink }: Pick<Side, "netlink">, ...requests: readonly Request[]): Promise<string> {
  return outcomeOf(netlink.commit(requests));
}

export async function outcomeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "done";
  } catch (error) {
    if (isNetlinkError(error)) return `${error.code}: ${error.request.text}`;
    throw error;
  }
}

/** Commits each request in a separate transaction. */
export async function commitEach(side: Side, ...requests: readonly Request[]): Promise<string[]> {
  const outcomes: string[] = [];
  for (const request of requests) outcomes.push(await commit(side, request));
  return outcomes;
}

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString("hex");

/** The table's content: its chains with the comments of their rules, its sets with the last bytes of their elements. */
export async function list({ netlink }: Side, family = 1, table: string = TABLE): Promise<Outcome> {
  const rules = (await netlink.dump(dumps.rules(family, table))).map((message) => decode(NFT_MSG_NEWRULE, message));
  const chains = (await netlink.dump(dumps.chains(family)))
    .map((message) => decode(NFT_MSG_NEWCHAIN, message).attributes)
    .filter((chain) => chain.table === table)
    .map(({ name = "" }) => {
      const own = rules.filter(({ attributes }) => attributes.chain === name);
      return [name, own.map(({ attributes }) => readComment(attributes.userdata) ?? "")] as const;
    });
  const sets: [string, Outcome][] = [];
  for (const message of await netlink.dump(dumps.sets(family, table))) {
    const { name = "" } = decode(NFT_MSG_NEWSET, message).attributes;
    const elements = (await netlink.dump(dumps.elements(family, table, name))).flatMap(elementsIn);
    sets.push([name, elements.map(elementText).sort()]);
  }
  return { ...Object.fromEntries(chains), ...Object.fromEntries(sets) };
}

export function elementsIn(message: Message) {
  return decode(NFT_MSG_NEWSETELEM, message).attributes.elements ?? [];
}

type Element = ReturnType<typeof elementsIn>[number];

/** "5", "5 end", "5-9" for a pair, ": 80" for data. */
export function elementText({ key, keyEnd, flags = 0, data, userdata }: Element): string {
  const comment = readComment(userdata);
  return [
    lastByte(key) + (keyEnd === undefined ? "" : `-${lastByte(keyEnd)}`),
    ...(flags === 0 ? [] : ["end"]),
    ...(data === undefined ? [] : [`: ${data.verdict?.chain ?? data.verdict?.code ?? lastByte(data)}`]),
    ...(comment === undefined ? [] : [`"${comment}"`]),
  ].join(" ");
}

function lastByte(data: NftData | undefined): string {
  return String(data?.value?.at(-1));
}

/** The handles of a chain's rules, in order. */
export async function handlesOf({ netlink }: Pick<Side, "netlink">, chain: string): Promise<bigint[]> {
  const messages = await netlink.dump(dumps.rules(1, TABLE, chain));
  return messages.map((message) => decode(NFT_MSG_NEWRULE, message).attributes.handle ?? 0n);
}

/** All objects, field by field, except handles and the order of elements. */
export async function listAll({ netlink }: Side): Promise<readonly unknown[]> {
  const tables = await netlink.dump(dumps.tables(NFPROTO_UNSPEC));
  const all: unknown[] = [];
  for (const { header, attributes } of tables.map((message) => decode(NFT_MSG_NEWTABLE, message))) {
    const { family } = header;
    const { handle: _handle, unknown: _unknown, ...told } = attributes;
    const table = attributes.name ?? "";
    all.push({ family, ...told });
    for (const message of await netlink.dump(dumps.chains(family))) {
      const { handle: _, unknown: _counters, ...chain } = decode(NFT_MSG_NEWCHAIN, message).attributes;
      if (chain.table === table) all.push(chain);
    }
    for (const message of await netlink.dump(dumps.rules(family, table))) {
      const { handle: _, position: _before, ...rule } = decode(NFT_MSG_NEWRULE, message).attributes;
      all.push(rule);
    }
    for (const message of await netlink.dump(dumps.sets(family, table))) {
      const { handle: _, unknown: _newer, ...set } = decode(NFT_MSG_NEWSET, message).attributes;
      const elements = (await netlink.dump(dumps.elements(family, table, set.name ?? ""))).flatMap(elementsIn);
      all.push(set, elements.map(wholeText).sort());
    }
  }
  return all;
}

function wholeText({ key, keyEnd, flags, data, userdata }: Element): string {
  return JSON.stringify([key, keyEnd].map((each) => hex(each?.value))) + JSON.stringify([flags, data, userdata]);
}

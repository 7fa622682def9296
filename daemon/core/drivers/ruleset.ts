/** Reads nf_tables on the event loop; pkg/netlink/ruleset.ts does the same for the executables. */

import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Look } from "../../../pkg/netlink/look.ts";
import type { Message, Query } from "../../../pkg/netlink/message.ts";

type Nftables = Pick<EventedNetlink, "dump" | "exchange">;

/** Returns the answers to `questions`, both dumps and others. An absent object (ENOENT) counts as empty. */
export async function readRuleset(nftables: Nftables, questions: readonly Query[]): Promise<readonly Message[]> {
  const replies = await nftables.exchange(questions.filter(({ isDump }) => !isDump));
  const answers = replies.flatMap(({ error, messages }) => {
    if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
    return messages;
  });
  for (const dump of questions.filter(({ isDump }) => isDump)) answers.push(...(await dumpIfThere(nftables, dump)));
  return answers;
}

export async function answeredBy<T>(nftables: Nftables, look: Look<T>): Promise<T> {
  let step = look.next();
  while (step.done !== true) step = look.next(await readRuleset(nftables, step.value));
  return step.value;
}

async function dumpIfThere(nftables: Nftables, dump: Query): Promise<readonly Message[]> {
  try {
    return await nftables.dump(dump);
  } catch (error) {
    if (isNetlinkError(error, "ENOENT")) return [];
    throw error;
  }
}

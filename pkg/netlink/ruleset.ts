/**
 * Changing nf_tables where many executables write at once and none is there to repair: look, plan, commit; the kernel
 * refuses what somebody else was faster with, and then everything is looked at anew.
 */
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";
import { type BlockingNetlink, openNetfilter } from "./blocking.ts";
import { isNetlinkError } from "./errors.ts";
import { decode, type Message, type Query, query, type Request } from "./message.ts";
import { NFT_MSG_GETGEN, NFT_MSG_NEWGEN } from "./nftables.ts";

/** Others change a table between our look and our change only now and then; so often in a row means another cause. */
const ATTEMPTS = 8;
const PAUSE_MS = 5;
/** Each time somebody else's change, of whatever table, came first: somebody got on. */
const OVERTAKEN_ATTEMPTS = 500;
/** Many who are overtaken together draw lots: all at once again, only one of them would get on. */
const LONGEST_LOT_MS = 256;

/** A transaction. With `generation` it takes effect only if nobody has changed any rule since that generation. */
export interface Change {
  readonly requests: readonly Request[];
  readonly generation: number | undefined;
}

/**
 * Commits what `plan` makes of the answers to `dumps`, as one transaction; nothing is sent for an empty plan. A dump of
 * what is absent (ENOENT) counts as empty. EEXIST, ENOENT and ERESTART of a transaction mean that it is planned again.
 */
export function changeRuleset(
  system: System,
  dumps: readonly Query[],
  plan: (dumped: readonly Message[]) => readonly Request[],
): void {
  const asChange = (dumped: Message[]) => ({ requests: plan(dumped), generation: undefined });
  changeSeen(system, (netfilter) => readRuleset(netfilter, dumps), asChange);
}

/**
 * The same where one look leads to the next, or where the change is right only for what was seen. Returns what the kernel
 * made of the requests that carry NLM_F_ECHO.
 */
export function changeSeen<Seen>(
  system: System,
  look: (netfilter: BlockingNetlink) => Seen,
  plan: (seen: Seen) => Change,
): readonly Message[] {
  const netfilter = openNetfilter(system);
  let attempts = 0;
  let overtaken = 0;
  try {
    for (;;) {
      try {
        const { requests, generation } = plan(look(netfilter));
        return netfilter.commit(requests, generation);
      } catch (error) {
        if (isNetlinkError(error, "ERESTART") && ++overtaken < OVERTAKEN_ATTEMPTS) {
          const [lot = 0] = system.randomBytes(1);
          system.sleep(lot % Math.min(2 ** overtaken, LONGEST_LOT_MS));
          continue;
        }
        // EINTR: a dump that changes interrupted each time.
        if (++attempts === ATTEMPTS || !isNetlinkError(error, "EEXIST", "ENOENT", "EINTR")) throw error;
        system.sleep(PAUSE_MS * attempts);
      }
    }
  } finally {
    netfilter.close();
  }
}

/** The ruleset's generation: asked before anything else is read, it dates what is seen. */
export function readGeneration(netfilter: BlockingNetlink): number | undefined {
  return generationOf(netfilter.run(generationRequest()));
}

export function generationRequest(): Query {
  return query(NFT_MSG_GETGEN, "nft list generation", {}, {});
}

/** From the answers to `generationRequest`. */
export function generationOf([answer]: readonly Message[]): number | undefined {
  return answer === undefined ? undefined : decode(NFT_MSG_NEWGEN, answer).attributes.id;
}

/** Throws where the kernel has no nf_tables. */
export function probeNetfilter(system: System): void {
  const netfilter = openNetfilter(system);
  try {
    readGeneration(netfilter);
  } finally {
    netfilter.close();
  }
}

/** The answers to `questions`, dumps or not; what is absent (ENOENT) counts as empty. */
export function readRuleset(netfilter: BlockingNetlink, questions: readonly Query[]): Message[] {
  const dumps = questions.filter(({ isDump }) => isDump);
  const answers = netfilter.exchange(questions.filter(({ isDump }) => !isDump)).flatMap(({ error, messages }) => {
    if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
    return messages;
  });
  return [...answers, ...dumps.flatMap((dump) => dumpIfThere(netfilter, dump))];
}

/** The first answers to a dump, as many as come in one datagram; none where the object is absent (ENOENT). */
export function readHead(system: System, dump: Query): readonly Message[] {
  const netfilter = openNetfilter(system);
  try {
    return netfilter.dumpHead(dump);
  } catch (error) {
    if (isNetlinkError(error, "ENOENT")) return [];
    throw error;
  } finally {
    netfilter.close();
  }
}

function dumpIfThere(netfilter: BlockingNetlink, dump: Query): readonly Message[] {
  try {
    return netfilter.dump(dump);
  } catch (error) {
    if (isNetlinkError(error, "ENOENT")) return [];
    throw error;
  }
}

/**
 * True when `error` says that the kernel has no nf_tables at all: then there is nothing to remove either. Reading is
 * refused only where the subsystem is absent; a change that is refused says something else.
 */
export function lacksNetfilter(error: unknown): boolean {
  if (isNetlinkError(error, "EINVAL", "EOPNOTSUPP")) return error.request.identifier.startsWith("NFT_MSG_GET");
  return isSystemError(error, "EPROTONOSUPPORT");
}

/**
 * Changes nf_tables while many executables write at the same time and no daemon repairs: read, plan, commit. The kernel
 * refuses a commit if another process has committed a conflicting change first; the caller then reads and plans again.
 */
import { isSystemError } from "../sys/errors.ts";
import type { System } from "../sys/system.ts";
import { type BlockingNetlink, openNetfilter } from "./blocking.ts";
import { isNetlinkError } from "./errors.ts";
import { decode, type Message, type Query, query, type Request } from "./message.ts";
import { NFT_MSG_DELSETELEM, NFT_MSG_DELTABLE, NFT_MSG_GETGEN, NFT_MSG_NEWGEN } from "./nftables.ts";

/**
 * Another process rarely changes a table between our read and our commit. So many conflicts in a row have another
 * cause.
 */
const ATTEMPTS = 8;
const PAUSE_MS = 5;
/**
 * A retry means that another process committed first, to any table, so the system as a whole makes progress. This limit
 * is therefore high.
 */
const OVERTAKEN_ATTEMPTS = 500;
/**
 * The longest random delay before a retry. Processes that are overtaken together wait for different times; without the
 * delay, only one of them would succeed in each round.
 */
const LONGEST_LOT_MS = 256;

/** A transaction. With `generation` it takes effect only if the ruleset has not changed since that generation. */
export interface Change {
  readonly requests: readonly Request[];
  readonly generation: number | undefined;
}

/**
 * Commits the plan for the answers to `dumps` as one transaction; sends nothing if the plan is empty. A dump of a
 * missing object (ENOENT) counts as empty. If the transaction fails with EEXIST, ENOENT or ERESTART, it reads and plans
 * again.
 */
export function changeRuleset(
  system: System,
  dumps: readonly Query[],
  plan: (dumped: readonly Message[]) => readonly Request[],
): void {
  changeSeen(
    system,
    (netfilter) => ({ generation: readGeneration(netfilter), dumped: readRuleset(netfilter, dumps) }),
    ({ generation, dumped }) => changeOf(plan(dumped), generation),
  );
}

/**
 * The transaction of `requests`, which were planned from a dump of `generation`. Single objects can be created, and one's
 * own deleted, whatever another process has committed since the dump: the kernel refuses what conflicts. A table that is
 * deleted to be created again could lose elements that another process has added since, so such a change is valid only
 * for the generation. So is one that deletes elements if `deletesOthers`: elements that another process adds during the
 * dump are read in part, and look like remains.
 */
export function changeOf(
  requests: readonly Request[],
  generation: number | undefined,
  { deletesOthers = false } = {},
): Change {
  const types: readonly number[] = [NFT_MSG_DELTABLE.type, ...(deletesOthers ? [NFT_MSG_DELSETELEM.type] : [])];
  return { requests, generation: requests.some(({ type }) => types.includes(type)) ? generation : undefined };
}

/**
 * Like `changeRuleset`, for reads that depend on each other and for changes that are valid only for the state that was
 * read. Returns the objects that the kernel created from requests with NLM_F_ECHO.
 */
export function changeSeen<Seen>(
  system: System,
  look: (netfilter: BlockingNetlink) => Seen,
  plan: (seen: Seen) => Change,
): readonly Message[] {
  const netfilter = openNetfilter(system);
  try {
    return changeOver(netfilter, system, look, plan);
  } finally {
    netfilter.close();
  }
}

/** Like `changeSeen`, over an open socket. */
export function changeOver<Seen>(
  netfilter: BlockingNetlink,
  system: System,
  look: (netfilter: BlockingNetlink) => Seen,
  plan: (seen: Seen) => Change,
): readonly Message[] {
  let attempts = 0;
  let overtaken = 0;
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
      // EINTR: changes interrupted every attempt of a dump.
      if (++attempts === ATTEMPTS || !isNetlinkError(error, "EEXIST", "ENOENT", "EINTR")) throw error;
      system.sleep(PAUSE_MS * attempts);
    }
  }
}

/** Reads the ruleset's generation. Read it before anything else, so that later reads are at least as new. */
export function readGeneration(netfilter: BlockingNetlink): number | undefined {
  return generationOf(netfilter.run(generationRequest()));
}

export function generationRequest(): Query {
  return query(NFT_MSG_GETGEN, "nft list generation", {}, {});
}

/** Parses the answers to `generationRequest`. */
export function generationOf([answer]: readonly Message[]): number | undefined {
  return answer === undefined ? undefined : decode(NFT_MSG_NEWGEN, answer).attributes.id;
}

/** Throws if the kernel has no nf_tables. */
export function probeNetfilter(system: System): void {
  const netfilter = openNetfilter(system);
  try {
    readGeneration(netfilter);
  } finally {
    netfilter.close();
  }
}

/** Returns the answers to `questions`, which may be dumps; a missing object (ENOENT) counts as empty. */
export function readRuleset(netfilter: BlockingNetlink, questions: readonly Query[]): Message[] {
  const dumps = questions.filter(({ isDump }) => isDump);
  const answers = netfilter.exchange(questions.filter(({ isDump }) => !isDump)).flatMap(({ error, messages }) => {
    if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
    return messages;
  });
  return [...answers, ...dumps.flatMap((dump) => dumpIfThere(netfilter, dump))];
}

/** Reads the messages in the first datagram of a dump; none if the object does not exist (ENOENT). */
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
 * True if `error` means that the kernel has no nf_tables, so there is nothing to remove. The kernel refuses a read with
 * these codes only if the subsystem is absent; for a refused change they have other meanings.
 */
export function lacksNetfilter(error: unknown): boolean {
  if (isNetlinkError(error, "EINVAL", "EOPNOTSUPP")) return error.request.identifier.startsWith("NFT_MSG_GET");
  return isSystemError(error, "EPROTONOSUPPORT");
}

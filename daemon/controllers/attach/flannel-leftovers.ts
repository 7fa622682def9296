/** Removes flanneld's rules from a node that weftd took over from it, after weftd's rules are in place. */

import { FLANNEL_CHAINS, flannelQuestions, planFlannelRemoval } from "../../../pkg/foreign/flannel-rules.ts";
import type { Family } from "../../../pkg/ip/address.ts";
import { isNetlinkError } from "../../../pkg/netlink/errors.ts";
import type { EventedNetlink } from "../../../pkg/netlink/evented.ts";
import type { Message } from "../../../pkg/netlink/message.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import { type Execute, isTableInUse, LEGACY_PROGRAM, runLegacy } from "../../core/legacy-tables.ts";

export interface LeftoverParts {
  readonly nftables: Pick<EventedNetlink, "dump" | "exchange" | "commit">;
  readonly files: Pick<Files, "readFile">;
  readonly execute: Execute;
}

/** Returns the commands that removed the rules, or that would have the same effect; empty if none were left. */
export async function removeFlannelRules({ nftables, files, execute }: LeftoverParts): Promise<readonly string[]> {
  const removed = [...(await removeFromNftables(nftables))];
  for (const family of [4, 6] as const) removed.push(...(await removeFromLegacy(files, execute, family)));
  return removed;
}

async function removeFromNftables(nftables: LeftoverParts["nftables"]): Promise<readonly string[]> {
  const seen: Message[] = [];
  for (const dump of flannelQuestions.dumps()) {
    try {
      seen.push(...(await nftables.dump(dump)));
    } catch (error) {
      if (!isNetlinkError(error, "ENOENT")) throw error;
    }
  }
  for (const { error, messages } of await nftables.exchange(flannelQuestions.single())) {
    if (error !== undefined && !isNetlinkError(error, "ENOENT")) throw error;
    seen.push(...messages);
  }
  const requests = planFlannelRemoval(seen);
  await nftables.commit(requests);
  return requests.map(({ text }) => text);
}

/** Throws if iptables-legacy is needed but missing; the message names the commands to run. */
async function removeFromLegacy(files: LeftoverParts["files"], execute: Execute, family: Family): Promise<string[]> {
  const removed: string[] = [];
  for (const { table, entry, chain, comment } of FLANNEL_CHAINS) {
    if (!isTableInUse(files, family, table)) continue;
    const jump = [entry, "-m", "comment", "--comment", comment, "-j", chain];
    const commands = [
      ["-D", ...jump],
      ["-F", chain],
      ["-X", chain],
    ].map((args) => ["-t", table, ...args]);
    const texts = commands.map((args) => [LEGACY_PROGRAM[family], ...args].map(quoted).join(" "));
    const shown = await runLegacy(execute, family, ["-t", table, "-S"]);
    if (shown === undefined) {
      const program = LEGACY_PROGRAM[family];
      throw new Error(
        `the table ${table} of ${program} is in use, but ${program} is not available here to find flanneld's rules in it; ` +
          `on the host run ${texts.join("; ")}`,
      );
    }
    const lines = shown.split("\n");
    if (!lines.includes(`-N ${chain}`)) continue;
    const isLedTo = lines.includes(`-A ${entry} -m comment --comment "${comment}" -j ${chain}`);
    const [first = [], ...others] = commands;
    for (const args of isLedTo ? [first, ...others] : others) await runLegacy(execute, family, args);
    removed.push(...(isLedTo ? texts : texts.slice(1)));
  }
  return removed;
}

function quoted(word: string): string {
  return word.includes(" ") ? `"${word}"` : word;
}

/** `weft restore`: restores rules of running pods that another program removed. */

import { keepRecords } from "../../pkg/attachment/firewall/records.ts";
import { forgetConnections } from "../../pkg/attachment/portmap/connections.ts";
import type { Address } from "../../pkg/ip/address.ts";
import { describeOwner } from "../../pkg/kernel/owner.ts";
import { openNetfilter } from "../../pkg/netlink/blocking.ts";
import { isNetlinkError } from "../../pkg/netlink/errors.ts";
import { answered } from "../../pkg/netlink/look.ts";
import type { Message, Query } from "../../pkg/netlink/message.ts";
import { changeSeen, lacksNetfilter, readRuleset } from "../../pkg/netlink/ruleset.ts";
import type { System } from "../../pkg/sys/system.ts";
import { podForwardingLook } from "../../pkg/tables/pod-forwarding.ts";
import { FORWARD_WISHES, type PodRulesObstacle, podRulesLook } from "../../pkg/tables/pod-rules.ts";
import { forwardedAddresses, removeStaleRules } from "../../pkg/tables/stale-pod-rules.ts";
import { changeBlocks } from "../change-report.ts";
import { CACHE_DIR } from "../ipam/look.ts";
import { CNI_BIN_DIR } from "../node/options.ts";
import {
  lookAtPodRules,
  type PodRulesKnowledge,
  type PodRulesLook,
  readHostEnds,
  readKnowledge,
} from "../node/pod-rules.ts";
import { CommandError, ExitStatus } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";

/** The maximum of rounds. Rounds after the first handle changes that happened meanwhile. */
const ROUNDS = 5;
/** The time after which restored rules are checked again: the attachments may have gone. */
const RECHECK_MS = 2000;

export const restore = declareSubcommand({
  name: "restore",
  group: "Change this node",
  summary: "restore rules of running pods that another program removed",
  description: [
    "Restores host ports (portmap), masquerading (ipMasq), the check of pods' hardware addresses (macspoofchk), the guards of pods' senders (guardSenders) and the rules of firewall. Restarting Debian's nftables.service, or `nft flush ruleset`, removes these rules of all running pods. A running weftd restores them itself, so use this command on nodes without weftd.",
    "Reads each pod's rules from the runtime's cached result of its ADD, in /var/lib/cni/results, for pods whose links on this node have weft's mark. Changes no existing rules, and takes no address or port from another pod. After a change, waits two seconds, and removes the restored rules of pods whose link is gone by then.",
    "Rules of a pod without a cached result cannot be restored: restart the pod. Rules of a plugin in --cni-bin-dir that is another program's are left to that program.",
  ],
  arguments: {},
  options: {
    dryRun: { kind: "flag", about: "print the commands, and change nothing" },
    cacheDir: CACHE_DIR,
    cniBinDir: CNI_BIN_DIR,
  },
  examples: [
    { line: "restore --dry-run", about: "print the commands that restore missing rules" },
    { line: "restore", about: "restore missing rules" },
  ],
  printsData: true,
  run({ system, options: { dryRun, cacheDir, cniBinDir }, progress }) {
    progress("reading the state of the node ...");
    const knowledge = readKnowledge(system, { cacheDir, cniBinDir });
    const { looks, left } = withNetfilter(() => (dryRun ? look(system, knowledge) : carryOut(system, knowledge)));
    const commands = looks.flatMap(({ requests }) => requests.map(({ text }) => text));
    const restored = looks.filter(({ requests }) => requests.length > 0).flatMap(({ missing }) => missing);
    return {
      status: left.length > 0 ? ExitStatus.failed : ExitStatus.done,
      blocks: changeBlocks({
        ...{ commands, left: [], failures: left, isDryRun: dryRun },
        nothing:
          left.length > 0
            ? "The missing rules cannot be restored."
            : "All running pods have their rules; nothing to do.",
      }),
      data: { dryRun, changed: !dryRun && commands.length > 0, commands, restored, failures: left },
    };
  },
});

interface Restoration {
  readonly looks: readonly PodRulesLook[];
  /** Messages about rules that cannot be restored. */
  readonly left: readonly string[];
}

function withNetfilter(work: () => Restoration): Restoration {
  try {
    return work();
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    throw new CommandError("the kernel does not support nf_tables, so there are no pods' rules to restore", {
      status: ExitStatus.refused,
      cause: error,
    });
  }
}

function look(system: System, knowledge: PodRulesKnowledge): Restoration {
  const netfilter = openNetfilter(system);
  try {
    const seen = lookAtPodRules(system, netfilter, knowledge);
    return { looks: [seen], left: leftOf([seen]) };
  } finally {
    netfilter.close();
  }
}

function carryOut(system: System, knowledge: PodRulesKnowledge): Restoration {
  const looks: PodRulesLook[] = [];
  let blocked: string | undefined;
  for (let round = 1; round <= ROUNDS; round++) {
    let current: PodRulesLook | undefined;
    try {
      const echoes = changeSeen(
        system,
        (netfilter) => lookAtPodRules(system, netfilter, knowledge),
        (seen) => {
          const { generation } = seen.seen;
          current = blocked === undefined ? seen : { ...seen, requests: seen.ownRequests };
          return { requests: current.requests, generation };
        },
      );
      if (current === undefined) break;
      looks.push(current);
      if (current.requests.length === 0) break;
      record(system, current, echoes);
    } catch (error) {
      // If another program owns a table and lets no other program change it, weft's own tables are still restored.
      if (blocked !== undefined || !isNetlinkError(error, "EPERM")) throw error;
      blocked = error.message;
    }
  }
  const restored = new Set(looks.flatMap(({ missing }) => missing.map(({ owner }) => owner)));
  const mappings =
    looks.at(-1)?.wanted.flatMap(({ owner, ports }) => (restored.has(owner) ? ports.mappings : [])) ?? [];
  forgetConnections(system, { opened: mappings });
  if (looks.some(({ requests }) => requests.length > 0)) {
    // A DEL in progress removes its rules before its link. By now, the link is gone, too.
    system.sleep(RECHECK_MS);
    removeStale(system, restored);
  }
  return { looks, left: [...leftOf(looks), ...(blocked === undefined ? [] : [blocked])] };
}

function record(system: System, { forwarding, wanted }: PodRulesLook, echoes: readonly Message[]): void {
  if (forwarding === undefined) return;
  const addresses = wanted.flatMap(({ firewall }) => firewall.pods.map(({ address }): Address => address));
  keepRecords(system, addresses, forwarding.records, echoes);
}

/** Removes restored rules of attachments whose link has gone meanwhile. */
function removeStale(system: System, restored: ReadonlySet<string>): void {
  const isGone = (hostEnds: ReadonlyMap<string, string>) => (owner: string) =>
    restored.has(owner) && !hostEnds.has(owner);
  if (![...restored].some(isGone(readHostEnds(system)))) return;
  changeSeen(
    system,
    (netfilter) => {
      const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
      const seen = answered(podRulesLook(), read);
      // Read after the generation, as in `lookAtPodRules`.
      const isStale = isGone(readHostEnds(system));
      const addresses = forwardedAddresses(seen, isStale);
      const look = podForwardingLook(FORWARD_WISHES.adminChain, addresses);
      return { seen, isStale, forwarding: addresses.length === 0 ? undefined : answered(look, read) };
    },
    ({ seen, isStale, forwarding }) => ({
      requests: removeStaleRules(seen, isStale, forwarding),
      generation: seen.generation,
    }),
  );
}

/** Messages for the result of the last read. */
function leftOf(looks: readonly PodRulesLook[]): string[] {
  const wasSomethingMissing = looks.some(({ missing }) => missing.length > 0);
  return looks
    .slice(-1)
    .flatMap(({ obstacles, unchecked, unknown }) => [
      ...obstacles.map(({ owner, part, reason }) => `${part} of ${describeOwner(owner)}: ${reason}; restart the pod`),
      ...(wasSomethingMissing ? [...unchecked.map(uncheckedText), ...unknown.map(unknownText)] : []),
    ]);
}

function uncheckedText({ owner, part, reason }: PodRulesObstacle): string {
  return `${part} of ${describeOwner(owner)} cannot be checked: ${reason}; if the pod had such rules, restart it`;
}

function unknownText(mark: string): string {
  return `${describeOwner(mark)}: the runtime has no cached result for it; if the pod had rules, restart it`;
}

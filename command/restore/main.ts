/** `weft restore`: rules of running pods come back that another program has removed. */

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

/** All but the first are for what came meanwhile. */
const ROUNDS = 5;
/** After rules came back: are the attachments still there? */
const RECHECK_MS = 2000;

export const restore = declareSubcommand({
  name: "restore",
  group: "Change this node",
  summary: "put back rules of running pods that another program has removed",
  description: [
    "Restarting Debian's nftables.service, or `nft flush ruleset`, removes the rules of all running pods: host ports (portmap), masquerade (ipMasq), the guard against foreign hardware addresses (macspoofchk), and what firewall has written. A weftd puts them back by itself; this does it where none runs.",
    "A pod's rules come from the runtime's result of its ADD, in /var/lib/cni/results; a pod counts while a link of this node bears its mark. What is there already stays as it is, and no address or port is taken from another pod. After a change it waits two seconds: rules of a pod whose link has gone by then are removed again.",
    "What the runtime has no result of cannot be put back: restart such a pod. Parts whose plugin in --cni-bin-dir is another program's are left to that program.",
  ],
  arguments: {},
  options: {
    dryRun: { kind: "flag", about: "print what would be done, and change nothing" },
    cacheDir: CACHE_DIR,
    cniBinDir: CNI_BIN_DIR,
  },
  examples: [
    { line: "restore --dry-run", about: "what is missing, as commands" },
    { line: "restore", about: "put it back" },
  ],
  printsData: true,
  run({ system, options: { dryRun, cacheDir, cniBinDir }, progress }) {
    progress("looking at the node ...");
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
            ? "What is missing cannot be put back."
            : "The rules of all running pods are there: nothing to do.",
      }),
      data: { dryRun, changed: !dryRun && commands.length > 0, commands, restored, failures: left },
    };
  },
});

interface Restoration {
  readonly looks: readonly PodRulesLook[];
  /** In words, what does not come back. */
  readonly left: readonly string[];
}

function withNetfilter(work: () => Restoration): Restoration {
  try {
    return work();
  } catch (error) {
    if (!lacksNetfilter(error)) throw error;
    throw new CommandError("the kernel has no nf_tables: pods have no rules that could be put back", {
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
      // A table of another program's that lets no one else change it does not keep our own from being filled.
      if (blocked !== undefined || !isNetlinkError(error, "EPERM")) throw error;
      blocked = error.message;
    }
  }
  const restored = new Set(looks.flatMap(({ missing }) => missing.map(({ owner }) => owner)));
  const mappings =
    looks.at(-1)?.wanted.flatMap(({ owner, ports }) => (restored.has(owner) ? ports.mappings : [])) ?? [];
  forgetConnections(system, { opened: mappings });
  if (looks.some(({ requests }) => requests.length > 0)) {
    // A DEL under way takes its rules out before its link: by now the link has gone, too.
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

/** Of attachments whose link has gone meanwhile. */
function removeStale(system: System, restored: ReadonlySet<string>): void {
  const isGone = (hostEnds: ReadonlyMap<string, string>) => (owner: string) =>
    restored.has(owner) && !hostEnds.has(owner);
  if (![...restored].some(isGone(readHostEnds(system)))) return;
  changeSeen(
    system,
    (netfilter) => {
      const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
      const seen = answered(podRulesLook(), read);
      // After the generation was asked for, as in each look.
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

/** As the last look has found it. */
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
  return `${part} of ${describeOwner(owner)} cannot be checked: ${reason}; if it had such rules, restart the pod`;
}

function unknownText(mark: string): string {
  return `${describeOwner(mark)}: the runtime has no result of it: if it had rules, restart the pod`;
}

/** Reads which rules running pods lack, compared with the runtime's cached results. */
import type { BlockingNetlink } from "../../../pkg/netlink/blocking.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { lookAtPodRules, readKnowledge } from "../../node/pod-rules.ts";
import type { PodRuleFacts } from "../facts.ts";

export function readPodRules(system: System, netfilter: BlockingNetlink | undefined, cniBinDir: string): PodRuleFacts {
  if (netfilter === undefined) return { missing: [], obstacles: [], unchecked: [], unknown: [] };
  const knowledge = readKnowledge(system, { cacheDir: undefined, cniBinDir });
  const { missing, obstacles, unchecked, unknown } = lookAtPodRules(system, netfilter, knowledge);
  return { missing, obstacles, unchecked, unknown };
}

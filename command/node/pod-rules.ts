/** Compares the rules of running pods with the runtime's cached results, and finds missing rules. */

import type { CachedAttachment } from "../../pkg/attachment/cached.ts";
import { readCachedAttachment } from "../../pkg/attachment/cached-attachments.ts";
import { prefersXtables } from "../../pkg/attachment/legacy-xtables.ts";
import { unchecked, wantedRules, withoutForeign } from "../../pkg/attachment/wanted-rules.ts";
import { CACHE_DIRECTORIES } from "../../pkg/footprint.ts";
import { linkDump, parseLink } from "../../pkg/kernel/link.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import { type BlockingNetlink, openRoute } from "../../pkg/netlink/blocking.ts";
import { answered } from "../../pkg/netlink/look.ts";
import type { Query, Request } from "../../pkg/netlink/message.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import { hostEndNames } from "../../pkg/reconcile/routed-pods.ts";
import type { System } from "../../pkg/sys/system.ts";
import { acceptPods, podForwardingLook, type SeenForwarding, unacceptedPods } from "../../pkg/tables/pod-forwarding.ts";
import {
  acceptedPods,
  type OwnedPart,
  ownersOf,
  type PodRules,
  type PodRulesObstacle,
  planPodRules,
  podRulesLook,
  type SeenPodRules,
} from "../../pkg/tables/pod-rules.ts";
import { observeBinDirectory } from "../install/bin-directory.ts";
import { CachedResults } from "../ipam/results.ts";
import { findViews } from "./namespaces.ts";

export interface PodRulesPlaces {
  readonly cacheDir: string | undefined;
  readonly cniBinDir: string;
}

/** The runtime's cached results, and the owners of its plugins. Read once. */
export interface PodRulesKnowledge {
  /** Results by mark. */
  readonly cached: ReadonlyMap<string, CachedAttachment>;
  isForeign(plugin: string): boolean;
}

/** Throws `SystemError`. */
export function readKnowledge(system: System, { cacheDir, cniBinDir }: PodRulesPlaces): PodRulesKnowledge {
  const results = new CachedResults(system, {
    directories: CACHE_DIRECTORIES,
    own: cacheDir,
    views: findViews(system),
  });
  const attachments = results.paths().flatMap((path) => readCachedAttachment(system, path) ?? []);
  const { files } = observeBinDirectory(cniBinDir, system);
  return {
    // If an attachment has two results, the one in the first directory is used.
    cached: new Map(attachments.reverse().map((attachment) => [ownerMark(attachment), attachment])),
    isForeign(plugin) {
      const file = files.get(plugin);
      return file !== undefined && file.buildId === undefined;
    },
  };
}

export interface PodRulesLook {
  readonly seen: SeenPodRules;
  readonly wanted: readonly PodRules[];
  /** Other programs' forward chains, for pods with one administrator's chain. The next read handles other pods. */
  readonly forwarding: SeenForwarding | undefined;
  readonly requests: readonly Request[];
  /** The part of `requests` that changes weft's own tables. */
  readonly ownRequests: readonly Request[];
  readonly missing: readonly OwnedPart[];
  readonly obstacles: readonly PodRulesObstacle[];
  /** Parts that cannot be checked. */
  readonly unchecked: readonly PodRulesObstacle[];
  /** Marks of attachments without a cached result. */
  readonly unknown: readonly string[];
}

/** Changes nothing. Throws `NetlinkError`. */
export function lookAtPodRules(
  system: System,
  netfilter: BlockingNetlink,
  { cached, isForeign }: PodRulesKnowledge,
): PodRulesLook {
  const read = (questions: readonly Query[]) => readRuleset(netfilter, questions);
  const seen = answered(podRulesLook(), read);
  // Read after the generation, so an attachment without a link still has none when the change is made.
  const hostEnds = readHostEnds(system);
  const told = [...hostEnds].flatMap(([mark, name]) => {
    const attachment = cached.get(mark);
    return attachment === undefined ? [] : [wantedRules(attachment, name)];
  });
  const wanted = told.map(({ rules }) => withoutForeign(rules, isForeign));
  const plan = planPodRules(seen, wanted);
  const pods = acceptedPods(seen, wanted, plan.restored);
  for (const adminChain of new Set(pods.map((pod) => pod.adminChain))) {
    const own = pods.filter((pod) => pod.adminChain === adminChain);
    const addresses = own.flatMap((pod) => pod.addresses);
    const forwarding = answered(podForwardingLook(adminChain, addresses), read);
    const makesTables = !prefersXtables(system, 4);
    const unaccepted = unacceptedPods(forwarding, own, makesTables);
    if (unaccepted.length === 0) continue;
    const more = unaccepted.map(({ owner }): OwnedPart => ({ owner, part: "firewall" }));
    return resultOf(
      [...plan.requests, ...acceptPods(forwarding, unaccepted, makesTables)],
      [...plan.restored, ...more],
      forwarding,
    );
  }
  return resultOf(plan.requests, plan.restored, undefined);

  function resultOf(
    requests: readonly Request[],
    missing: readonly OwnedPart[],
    forwarding: SeenForwarding | undefined,
  ) {
    const keys = missing.map(({ owner, part }) => `${part} ${owner}`);
    return {
      ...{ seen, wanted, forwarding, requests, ownRequests: plan.requests },
      missing: missing.filter((_, at) => keys.indexOf(keys[at] ?? "") === at),
      obstacles: plan.obstacles,
      unchecked: unchecked(
        told.flatMap(({ obstacles }) => obstacles),
        ownersOf(seen),
        isForeign,
      ),
      unknown: [...hostEnds.keys()].filter((mark) => !cached.has(mark)),
    };
  }
}

/** Returns the host's ends of pods' veth pairs: mark -> name. */
export function readHostEnds(system: System): ReadonlyMap<string, string> {
  const host = openRoute(system);
  try {
    return hostEndNames(host.dump(linkDump()).map(parseLink));
  } finally {
    host.close();
  }
}

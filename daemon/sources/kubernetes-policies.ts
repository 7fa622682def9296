/** NetworkPolicies, ClusterNetworkPolicies, Namespaces and Pods from an API server. Lists nothing before `start`. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { Connection } from "../../pkg/cluster/connection.ts";
import { isNotFound } from "../../pkg/cluster/errors.ts";
import type { ResourceParser } from "../../pkg/cluster/parser.ts";
import { CLUSTER_NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER } from "../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER } from "../../pkg/cluster/policy/pod.ts";
import { ResourceClient } from "../../pkg/cluster/resource-client.ts";
import { Store } from "../../pkg/cluster/store.ts";
import type { Logger } from "../core/log.ts";
import type { PolicySource } from "./policy-source.ts";

export interface KubernetesPoliciesParts {
  readonly connection: Connection;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Manifests of versions without NetworkPolicies lack these permissions. */
const GIVEN_BY = "the ClusterRole weftd of conf/base and of the chart grants it; --network-policy off needs none";

export function kubernetesPolicies({ connection, clock, log }: KubernetesPoliciesParts): PolicySource {
  const store = <T>(parser: ResourceParser<T>) => {
    const { plural } = parser.resource;
    return new Store(connection, parser, {
      clock,
      advice: adviceOf(parser),
      onFailure: (error, retryMs) =>
        log.warn(
          { err: error, retryMs: Math.round(retryMs) },
          `cannot watch ${plural}; keeping the programmed policies`,
        ),
      onUnreadable: (key, error) =>
        log.error({ key, err: error }, `cannot read an object of ${plural}; keeping its last state`),
    });
  };
  const policies = store(NETWORK_POLICY_PARSER);
  const clusterPolicies = store(CLUSTER_NETWORK_POLICY_PARSER);
  const namespaces = store(NAMESPACE_PARSER);
  const pods = store(POD_PARSER);
  const client = new ResourceClient(connection, POD_PARSER.resource, adviceOf(POD_PARSER));
  const started = new Set<{ start(): void; stop(): Promise<void> }>();
  const startAll = (...stores: readonly { start(): void; stop(): Promise<void> }[]) => {
    for (const each of stores) {
      if (started.has(each)) continue;
      started.add(each);
      each.start();
    }
  };
  return {
    ...{ policies, clusterPolicies, namespaces, pods },
    start: () => startAll(policies, clusterPolicies),
    startPods: () => startAll(namespaces, pods),
    getPod: async (key, signal) => {
      const [namespace = "", name = ""] = key.split("/");
      try {
        return POD_PARSER.parse(await client.get({ namespace, name }, signal));
      } catch (error) {
        if (isNotFound(error)) return undefined;
        throw error;
      }
    },
    stop: async () => {
      await Promise.all([policies, clusterPolicies, namespaces, pods].map((each) => each.stop()));
    },
  };
}

function adviceOf({ resource: { group, plural } }: ResourceParser<unknown>) {
  const subject = group === "" ? plural : `${plural}.${group}`;
  const verbs = plural === POD_PARSER.resource.plural ? "get, list and watch" : "list and watch";
  return { 403: `the account needs ${verbs} on ${subject}: ${GIVEN_BY}` };
}

/** The desired state of one comparison, and its parts for changes of single peers and for the node table. */
import type { NetConf } from "../../../pkg/backend/net-conf.ts";
import type { LocalNode, Peer } from "../../../pkg/backend/node.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { deviceIndexes } from "../../../pkg/reconcile/data-path.ts";
import type { PlanOutcome } from "../../core/controller.ts";
import type { Observation } from "../../core/shared-kernel.ts";
import type { NodeChoice, PeerAddresses } from "../facts.ts";
import type { Settled } from "./node-changes.ts";
import type { SliceBasis } from "./peer-slices.ts";
import type { TableContent } from "./run-files.ts";
import type { UnderlayChoice } from "./underlay.ts";

/** The desired state of one pass. */
export interface WantedWay {
  readonly conf: NetConf;
  /** The text of net-conf.json. */
  readonly netConf: string;
  readonly own: ClusterNode;
  readonly node: LocalNode;
  readonly peers: readonly Peer[];
  /** The Nodes of `peers`. */
  readonly nodes: readonly ClusterNode[];
  readonly underlay: UnderlayChoice;
  readonly state: DesiredState;
  readonly choice: NodeChoice;
  /** The arguments of `desiredState`. */
  readonly basis: SliceBasis;
  readonly addresses: PeerAddresses;
  /** True if flanneld's routes to the right next hops are to become ours. */
  readonly adopt: boolean;
}

/** Returns the state for changes of single peers; undefined if the kernel does not have all of it. */
export function settledBy(outcome: PlanOutcome<WantedWay, Observation>): Settled | undefined {
  const { desired, observed, failures, conflicts, resting } = outcome;
  if (failures.length + conflicts.length + resting.length > 0) return undefined;
  const { basis, nodes, state, addresses } = desired;
  const indexes = deviceIndexes(state.dataPath, observed.state);
  return { basis, nodes, state, addresses, indexes, table: tableOf(desired) };
}

/** Returns the node table's content without peers. */
export function tableOf({ netConf, node, state, choice }: WantedWay): Omit<TableContent, "peers"> {
  const macs = state.dataPath.devices.flatMap(({ name, mac }): [string, string][] =>
    mac === undefined ? [] : [[name, mac]],
  );
  return { netConf, node, deviceMacs: new Map(macs), formerSubnets: choice.former };
}

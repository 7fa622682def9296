/** The parts that weftd.ts passes to controllers. A controller uses the parts that it needs. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import type { RepairGate } from "../../pkg/reconcile/repair-gate.ts";
import type { Files } from "../../pkg/sys/system.ts";
import type { Runnable } from "../core/controller.ts";
import type { ControllerCore } from "../core/controller-pass.ts";
import type { SettingWatch } from "../core/drivers/setting-watch.ts";
import type { Health } from "../core/health.ts";
import type { Kernel } from "../core/kernel.ts";
import type { Logger } from "../core/log.ts";
import type { Metrics } from "../core/metrics.ts";
import type { Facts, Topic } from "../core/topic.ts";
import type { Options } from "../options.ts";
import type { ClusterSide } from "../sources/cluster-side.ts";
import type { EventReporter } from "../sources/events.ts";
import type { NetConfHolder } from "../sources/net-conf.ts";
import type { NodeView } from "../sources/node-view.ts";

export interface Sources {
  readonly view: NodeView;
  /** Notifies of added, changed and deleted Nodes. */
  readonly nodes: Topic;
  readonly netConf: Pick<NetConfHolder, "current">;
  /** Notifies of a changed `netConf`. */
  readonly netConfChange: Topic;
}

export interface ControllerContext {
  readonly options: Options;
  readonly clock: Clock;
  readonly log: Logger;
  readonly health: Health;
  readonly metrics: Metrics;
  readonly events: EventReporter;
  readonly sources: Sources;
  readonly facts: Facts;
  /** The connection to the cluster, for this node's announcements and for Services. */
  readonly cluster: Pick<ClusterSide, "announcer" | "reconnect" | "services" | "policies" | "apiServers">;
  /** The node's files, with kernel settings redirected to --proc-sys. */
  readonly files: Files;
  /** The same files, with this process's own /proc/sys. */
  readonly ownFiles: Files;
  /** This node's kernel. Plans are carried out by `drivers`; this is for operations that plans cannot express. */
  readonly kernel: Pick<Kernel, "programmer" | "netlink" | "nftables" | "generic" | "connections" | "bases">;
  readonly drivers: ControllerCore["drivers"];
  /** Makes a repair gate for one controller. */
  newGate(): RepairGate;
  /** Notifies `topic` when another program writes one of the watched settings. */
  watchSettings(topic: Topic): SettingWatch;
}

/** Makes a controller; undefined if the options do not need it. weftd.ts has the list of factories. */
export type ControllerFactory = (context: ControllerContext) => Runnable | undefined | Promise<Runnable | undefined>;

/** What a controller is made with: everything that weftd.ts has opened. A controller takes what it needs of it. */
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
  /** Nodes are new, changed or gone. */
  readonly nodes: Topic;
  readonly netConf: Pick<NetConfHolder, "current">;
  /** `netConf` is another one. */
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
  /** What this node says to the cluster. */
  readonly cluster: Pick<ClusterSide, "announcer" | "reconnect" | "services" | "apiServers">;
  /** The node's files; kernel settings are found where --proc-sys says. */
  readonly files: Files;
  /** The same, with this process's own /proc/sys. */
  readonly ownFiles: Files;
  /** This node's kernel. Plans go by `drivers`; this is for what plans cannot say. */
  readonly kernel: Pick<Kernel, "programmer" | "netlink" | "nftables" | "generic" | "connections" | "bases">;
  readonly drivers: ControllerCore["drivers"];
  /** A repair gate for one controller. */
  newGate(): RepairGate;
  /** Notifies `topic` when another program writes one of the settings that the watch follows. */
  watchSettings(topic: Topic): SettingWatch;
}

/** Makes a controller; undefined where the options want none of it. The list of them is in weftd.ts. */
export type ControllerFactory = (context: ControllerContext) => Runnable | undefined | Promise<Runnable | undefined>;

/** weftd's metrics for Prometheus. */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ObjectKind } from "../../pkg/netlink/message.ts";
import { CONTROLLER_STATUSES, type ControllerReport } from "./controller-state.ts";

/** From half a millisecond (one peer) to half a minute (a mass start). */
const LATENCY_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** The values of the label `kind` of weft_repairs_total, without "other". */
export const REPAIR_KINDS = [
  ...(["route", "neighbour", "forwarding", "link", "address"] as const),
  ...(["table", "attachment", "rule", "setting"] as const),
] satisfies readonly ObjectKind[];

/** Parts of a table, which count as its rules. */
const RULE_PARTS: ReadonlySet<ObjectKind> = new Set<ObjectKind>(["chain", "set", "element"]);

/** Returns one of `REPAIR_KINDS`, or "other" for objects that are repaired too rarely for a kind of their own. */
export function repairKind(kind: ObjectKind): string {
  if (RULE_PARTS.has(kind)) return "rule";
  return REPAIR_KINDS.find((known) => known === kind) ?? "other";
}

/** The use of one of this node's subnets. */
export interface AddressUse {
  readonly subnet: string;
  readonly used: number;
  /** The number of addresses that the subnet has for pods. */
  readonly capacity: number;
}

/** Sources that are read when Prometheus scrapes. */
export interface MetricsSources {
  readonly addressUse?: () => Promise<readonly AddressUse[]>;
  readonly controllers?: () => readonly ControllerReport[];
}

export class Metrics {
  /** A separate registry, so that two daemons in one process (a test) do not share metrics. */
  readonly #registry = new Registry();
  readonly #registers = [this.#registry];

  readonly programmingLatency = new Histogram({
    name: "weft_programming_latency_seconds",
    help: "Time from the arrival of a Node event to the end of the pass that programmed it.",
    buckets: LATENCY_BUCKETS,
    registers: this.#registers,
  });
  readonly passes = new Counter({
    name: "weft_reconcile_passes_total",
    help: "Comparisons of the kernel's state with the desired state, by result.",
    labelNames: ["result"] as const,
    registers: this.#registers,
  });
  readonly passDuration = new Histogram({
    name: "weft_reconcile_duration_seconds",
    help: "Duration of one comparison, including its changes.",
    buckets: LATENCY_BUCKETS,
    registers: this.#registers,
  });
  readonly changes = new Counter({
    name: "weft_kernel_changes_total",
    help: "Requests that changed the kernel, by netlink message type.",
    labelNames: ["request"] as const,
    registers: this.#registers,
  });
  readonly repairs = new Counter({
    name: "weft_repairs_total",
    help: "Repairs of objects that another program had removed or changed, by kind.",
    labelNames: ["kind"] as const,
    registers: this.#registers,
  });
  readonly peers = new Gauge({
    name: "weft_peers",
    help: "Peers, by whether the last pass could connect this node to their pods.",
    labelNames: ["state"] as const,
    registers: this.#registers,
  });
  readonly peerTroubles = new Gauge({
    name: "weft_peer_trouble",
    help: "1 for each peer to whose pods the last pass could not connect this node, with the reason (first hundred peers).",
    labelNames: ["peer", "reason"] as const,
    registers: this.#registers,
  });
  readonly checksumOffload = new Gauge({
    name: "weft_vtep_checksum_offload",
    help: "1 if the hardware fills in the checksums of packets that a VXLAN device sends, 0 if the kernel does.",
    labelNames: ["device"] as const,
    registers: this.#registers,
  });
  readonly notificationOverruns = new Counter({
    name: "weft_netlink_overruns_total",
    help: "Times the kernel dropped notifications that weftd had not read in time; each triggers a full comparison.",
    registers: this.#registers,
  });
  readonly watchConnected = new Gauge({
    name: "weft_node_watch_connected",
    help: "1 while the watch of Nodes is connected, 0 while the API server is unreachable.",
    registers: this.#registers,
  });
  readonly watchFailures = new Counter({
    name: "weft_node_watch_failures_total",
    help: "Failed attempts to list or watch Nodes.",
    registers: this.#registers,
  });
  readonly apiServer = new Gauge({
    name: "weft_api_server",
    help: "1 for the API server that answered last, with the origin of its address: configured, remembered, or the Service.",
    labelNames: ["server", "origin"] as const,
    registers: this.#registers,
  });
  readonly announcementFailures = new Counter({
    name: "weft_announcement_failures_total",
    help: "Failed attempts to publish this node's annotations.",
    registers: this.#registers,
  });

  readonly controllerPasses = new Counter({
    name: "weft_controller_passes_total",
    help: "Passes of each controller, by result.",
    labelNames: ["controller", "result"] as const,
    registers: this.#registers,
  });
  readonly controllerPassSeconds = new Histogram({
    name: "weft_controller_pass_seconds",
    help: "Duration of one pass of a controller, including its changes.",
    labelNames: ["controller"] as const,
    buckets: LATENCY_BUCKETS,
    registers: this.#registers,
  });

  #addressUse: () => Promise<readonly AddressUse[]>;
  #controllers: () => readonly ControllerReport[];

  constructor({ addressUse = async () => [], controllers = () => [] }: MetricsSources = {}) {
    this.#addressUse = addressUse;
    this.#controllers = controllers;
    observeAddresses(() => this.#addressUse(), this.#registers);
    observeControllers(() => this.#controllers(), this.#registers);
    for (const result of ["success", "failure"]) this.passes.inc({ result }, 0);
    for (const kind of REPAIR_KINDS) this.repairs.inc({ kind }, 0);
    observeProcess(this.#registers);
  }

  /** Sets the source of the address metrics, which every scrape reads from now on. */
  countAddresses(use: () => Promise<readonly AddressUse[]>): void {
    this.#addressUse = use;
  }

  /** Sets the source of the controller metrics, which every scrape reads from now on. */
  shows(controllers: () => readonly ControllerReport[]): void {
    this.#controllers = controllers;
  }

  /** The registry for a controller's own metrics. */
  get registry(): Registry {
    return this.#registry;
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Returns the exposition text. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}

/**
 * Registers the two standard process metrics that cost nothing. prom-client's own collection adds a monitor of the
 * event loop that wakes the processor a hundred times a second.
 */
export function observeProcess(registers: Registry[]): void {
  new Gauge({
    name: "process_resident_memory_bytes",
    help: "Resident memory size in bytes.",
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new Counter({
    name: "process_cpu_seconds_total",
    help: "Total user and system CPU time spent in seconds.",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}

function observeControllers(controllers: () => readonly ControllerReport[], registers: Registry[]): void {
  new Gauge({
    name: "weft_controller_state",
    help: `1 for the controller's current state, one of: ${CONTROLLER_STATUSES.join(", ")}.`,
    labelNames: ["controller", "state"] as const,
    registers,
    collect() {
      this.reset();
      for (const { name, status } of controllers())
        for (const state of CONTROLLER_STATUSES) this.set({ controller: name, state }, state === status ? 1 : 0);
    },
  });
}

/** Registers the address metrics. Addresses are counted during each scrape. */
function observeAddresses(addressUse: () => Promise<readonly AddressUse[]>, registers: Registry[]): void {
  const gauge = (name: string, help: string, count: (use: AddressUse) => number) =>
    new Gauge({
      ...{ name, help, registers, labelNames: ["subnet"] as const },
      async collect() {
        const uses = await addressUse();
        this.reset();
        for (const use of uses) this.set({ subnet: use.subnet }, count(use));
      },
    });
  gauge("weft_ipam_addresses_in_use", "Addresses of this node's subnets that pods use.", ({ used }) => used);
  gauge("weft_ipam_addresses", "Addresses that this node's subnets have for pods.", ({ capacity }) => capacity);
}

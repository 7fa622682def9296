/** This node's kernel, shared by all controllers: sockets, drivers, one snapshot, and the kernel's notifications. */
import type { Clock } from "../../pkg/cluster/clock.ts";
import { BaseChains } from "../../pkg/foreign/base-chains.ts";
import { EventedNetlink } from "../../pkg/netlink/evented.ts";
import { NETLINK_GENERIC } from "../../pkg/netlink/generic.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE } from "../../pkg/netlink/message.ts";
import { openEventNetlink } from "../../pkg/sys/node-netlink.ts";
import { Programmer } from "./drivers/programmer.ts";
import { type GenerationListener, listenToGenerations } from "./generations.ts";
import { listenToKernel } from "./kernel-events.ts";
import type { Metrics } from "./metrics.ts";
import type { Runner } from "./runner.ts";
import { SharedKernel } from "./shared-kernel.ts";

const WHERE = "this node";

export class Kernel {
  readonly netlink: EventedNetlink;
  readonly nftables: EventedNetlink;
  readonly generic: EventedNetlink;
  /**
   * For tracked connections. The kernel walks 100,000 of them in 30 ms; neither transactions nor the event loop wait
   * for that.
   */
  readonly connections: EventedNetlink;
  readonly bases = new BaseChains();
  readonly programmer: Programmer;
  readonly shared: SharedKernel;
  readonly #ports: { readonly programming: number; readonly committing: number };
  readonly #closers: (() => void)[] = [];

  constructor(clock: Clock) {
    const open = (family: number, options?: { readonly isSlow: boolean }) => {
      const socket = openEventNetlink(family, options);
      const netlink = new EventedNetlink(socket, WHERE, clock);
      this.#closers.push(() => netlink.close());
      return { netlink, port: socket.port };
    };
    const programming = open(NETLINK_ROUTE);
    const committing = open(NETLINK_NETFILTER);
    this.netlink = programming.netlink;
    this.nftables = committing.netlink;
    this.generic = open(NETLINK_GENERIC).netlink;
    this.connections = open(NETLINK_NETFILTER, { isSlow: true }).netlink;
    this.programmer = new Programmer(this.netlink, this.nftables, this.bases, () => this.shared.changed());
    this.shared = new SharedKernel(() => this.programmer.observe(), clock);
    this.#ports = { programming: programming.port, committing: committing.port };
  }

  /** Passes the kernel's notifications to `runner`. Rejects when a socket becomes unusable; never resolves. */
  listen(runner: Runner, metrics: Pick<Metrics, "notificationOverruns">): Promise<never> {
    const generations = openEventNetlink(NETLINK_NETFILTER);
    generations.ignore(this.#ports.committing);
    const notifications = openEventNetlink(NETLINK_ROUTE);
    // A start causes thousands of notifications of weftd's own changes.
    notifications.ignore(this.#ports.programming);
    this.#closers.push(
      () => generations.close(),
      () => notifications.close(),
    );
    return new Promise((_resolve, reject) => {
      const ruleset: GenerationListener = {
        onBaseChains: (chains) => this.bases.announced(chains),
        onUnknownChains: () => this.bases.forget(),
        onTable: (table) => runner.tableChanged(table),
        onChange: () => runner.rulesetChanged(),
        onOverrun: () => {
          metrics.notificationOverruns.inc();
          runner.rulesetChanged("announcements were lost");
        },
        onBroken: reject,
      };
      listenToGenerations(generations, ruleset, runner.ownTables());
      const changed = (tell: () => void) => () => {
        this.shared.changed();
        tell();
      };
      listenToKernel(notifications, {
        onMessage: (message) => {
          this.shared.changed();
          runner.notified(message);
        },
        onUnreadable: changed(() => runner.notifiedUnreadable()),
        onOverrun: changed(() => {
          metrics.notificationOverruns.inc();
          runner.overrun();
        }),
        onBroken: reject,
      });
    });
  }

  close(): void {
    for (const close of this.#closers.reverse()) close();
  }
}

/** Reports the state of this node itself to the log, /readyz and Events. */
import type { NetConf } from "../../../pkg/backend/net-conf.ts";
import type { DesiredState } from "../../../pkg/backend/state.ts";
import type { ClusterNode } from "../../../pkg/cluster/node/node.ts";
import { formatAddress } from "../../../pkg/ip/address.ts";
import { formatPrefix, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Files } from "../../../pkg/sys/system.ts";
import type { Health } from "../../core/health.ts";
import { LastReports } from "../../core/last-reports.ts";
import type { Logger } from "../../core/log.ts";
import type { Options } from "../../options.ts";
import type { EventReporter } from "../../sources/events.ts";
import type { NodeView } from "../../sources/node-view.ts";
import { ownSubnets } from "./own-node.ts";
import { strictReversePaths } from "./reverse-path.ts";
import type { UnderlayChoice } from "./underlay.ts";

export interface OwnNodeReportParts {
  readonly options: Pick<Options, "nodeName">;
  readonly files: Files;
  readonly events: EventReporter;
  readonly health: Health;
  readonly log: Logger;
}

export class OwnNodeReport {
  readonly #parts: OwnNodeReportParts;
  readonly #reports = new LastReports();

  constructor(parts: OwnNodeReportParts) {
    this.#parts = parts;
  }

  /** Returns this node and its subnets. While they are unknown, reports the reason and returns undefined. */
  ownNode(
    view: NodeView,
    conf: NetConf,
  ): { readonly own: ClusterNode; readonly subnets: readonly Prefix[] } | undefined {
    const { options, health, log } = this.#parts;
    // Before the first list, a missing peer may merely be unlisted: nothing is compared, so nothing is removed.
    if (!view.isSynced) return undefined;
    const { own } = view;
    const found = ownSubnets(options.nodeName, own, conf);
    if (own === undefined || typeof found === "string") {
      const reason = String(found);
      health.fails("subnet", reason);
      if (this.#reports.isNew("subnet", reason)) log.warn({ reason }, "waiting for this node's subnet");
      return undefined;
    }
    const { subnets, unused } = found;
    const text = subnets.map(formatPrefix).join(", ");
    health.holds("subnet", text);
    health.warns("subnet", unused);
    if (this.#reports.isNew("unused podCIDRs", unused.join("; ")) && unused.length > 0)
      log.warn({ unused }, "some of this node's podCIDRs are not used for pods");
    if (this.#reports.isNew("subnet", text))
      log.info({ subnets: subnets.map(formatPrefix) }, "subnet of this node found");
    return { own, subnets };
  }

  underlay({ link, ipv4, ipv6, reason }: UnderlayChoice): void {
    const addresses = [ipv4, ipv6].flatMap((one) => (one === undefined ? [] : [formatAddress(one.announced)]));
    const line = { interface: link.name, addresses, mtu: link.mtu, reason };
    if (this.#reports.isNew("underlay", JSON.stringify(line))) this.#parts.log.info(line, "underlay chosen");
  }

  reversePaths({ isAsymmetric, dataPath }: DesiredState, { link }: UnderlayChoice): void {
    const { files, health, events, log } = this.#parts;
    const devices = [link.name, ...dataPath.devices.map(({ name }) => name)];
    const warnings = isAsymmetric ? strictReversePaths(files, devices) : [];
    health.warns("rp_filter", warnings);
    if (!this.#reports.isNew("rp_filter", warnings.join("\n")) || warnings.length === 0) return;
    log.warn({ warnings }, "strict reverse path filtering drops packets of some peers");
    for (const message of warnings) events.report({ type: "Warning", reason: "StrictReversePath", message });
  }
}

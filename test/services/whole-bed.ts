/** The complete path from events to the kernel in one process: ServiceMap, NftablesMode and an nf_tables in memory. */
import { answered, type Look } from "../../pkg/netlink/look.ts";
import { readRuleset } from "../../pkg/netlink/ruleset.ts";
import { fakeBlockingNetlink } from "../../pkg/nft/fake-blocking-netlink.ts";
import { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import type { NodeSettings } from "../../pkg/services/frontend.ts";
import type { Transaction } from "../../pkg/services/mode.ts";
import { NftablesMode } from "../../pkg/services/nftables/nftables-mode.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { nodeFacts } from "./core-bed.ts";
import { applyEvent, type ServiceEvent } from "./random-events.ts";

/** One weftd's view of a node's kernel. */
export class WholeBed {
  readonly nftables = new FakeNftables();
  readonly map = new ServiceMap();
  mode = new NftablesMode();
  settings: NodeSettings;
  readonly netlink = fakeBlockingNetlink(this.nftables);

  constructor(settings: NodeSettings) {
    this.settings = settings;
    this.map.setNode(nodeFacts());
  }

  look<T>(look: Look<T>): T {
    return answered(look, (questions) => readRuleset(this.netlink, questions));
  }

  compare(mode = this.mode): readonly Transaction[] {
    return this.look(mode.compare(this.map.frontends(), this.settings));
  }

  carryOut(transactions: readonly Transaction[]): void {
    for (const transaction of transactions) this.netlink.commit(transaction);
  }

  /** Programs the changes that `events` make. */
  apply(events: readonly ServiceEvent[]): void {
    for (const event of events) applyEvent(this.map, event);
    this.carryOut(this.mode.change(this.map.changes()));
  }

  /** As the controller does: a comparison consumes the pending changes. */
  restore(): void {
    this.map.changes();
    this.carryOut(this.compare());
  }
}

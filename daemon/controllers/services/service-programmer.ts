/** Carries out a mode's results: its queries, then its transactions. */
import { SERVICES_TABLE } from "../../../pkg/footprint.ts";
import { NFPROTO } from "../../../pkg/netlink/nftables.ts";
import type { TablePlace } from "../../../pkg/nft/ruleset.ts";
import type { Frontend, FrontendChange, NodeSettings } from "../../../pkg/services/frontend.ts";
import type { ServiceMode } from "../../../pkg/services/mode.ts";
import {
  type Repairs,
  type SentTransactions,
  TableProgrammer,
  type TableProgrammerParts,
} from "../../core/drivers/table-programmer.ts";

export const SERVICES_PLACE: TablePlace = { family: NFPROTO.inet, table: SERVICES_TABLE };

export interface ServiceProgrammerParts extends Omit<TableProgrammerParts, "place" | "purpose"> {
  readonly mode: ServiceMode;
}

export class ServiceProgrammer {
  readonly #mode: ServiceMode;
  readonly #table: TableProgrammer;

  constructor({ mode, ...parts }: ServiceProgrammerParts) {
    this.#mode = mode;
    this.#table = new TableProgrammer({ ...parts, place: SERVICES_PLACE, purpose: "Services" });
  }

  /**
   * Programs the desired state, regardless of the kernel's state. Throws `NetlinkError`; a part may be programmed then.
   */
  compare(frontends: readonly Frontend[], settings: NodeSettings, repairs: Repairs): Promise<SentTransactions> {
    return this.#table.compare(this.#mode.compare(frontends, settings), repairs);
  }

  /** Sends changes. After a failure only `compare` may be called. */
  change(changes: readonly FrontendChange[]): Promise<SentTransactions> {
    return this.#table.commit(this.#mode.change(changes));
  }
}

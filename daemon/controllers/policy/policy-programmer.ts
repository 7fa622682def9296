/** Carries out a program's results: its queries, then its transactions. */
import { POLICY_TABLE } from "../../../pkg/footprint.ts";
import type { Look } from "../../../pkg/netlink/look.ts";
import { NFPROTO } from "../../../pkg/netlink/nftables.ts";
import { readTables, type TablePlace, tablePlaceText, tablesDump } from "../../../pkg/nft/ruleset.ts";
import type { PolicyProgram, PolicySettings, ProfileCounts } from "../../../pkg/policy/program.ts";
import type { PolicyChange } from "../../../pkg/policy/state.ts";
import type { PolicyTables } from "../../../pkg/policy/tables.ts";
import {
  type Repairs,
  type SentTransactions,
  TableProgrammer,
  type TableProgrammerParts,
} from "../../core/drivers/table-programmer.ts";

export const POLICY_PLACE: TablePlace = { family: NFPROTO.inet, table: POLICY_TABLE };

export interface PolicyProgrammerParts extends Omit<TableProgrammerParts, "place" | "purpose"> {
  readonly program: PolicyProgram;
}

export class PolicyProgrammer {
  readonly #program: PolicyProgram;
  readonly #table: TableProgrammer;

  constructor({ program, ...parts }: PolicyProgrammerParts) {
    this.#program = program;
    this.#table = new TableProgrammer({ ...parts, place: POLICY_PLACE, purpose: "policies" });
  }

  /**
   * Programs the desired state, regardless of the kernel's state. Throws `NetlinkError`; a part may be programmed then.
   */
  compare(tables: PolicyTables, settings: PolicySettings, repairs: Repairs): Promise<SentTransactions> {
    return this.#table.compare(this.#program.compare(tables, settings), repairs);
  }

  /** Sends changes. After a failure only `compare` may be called. */
  change(changes: readonly PolicyChange[]): Promise<SentTransactions> {
    return this.#table.commit(this.#program.change(changes));
  }

  /** Removes the table if it exists. Afterwards only `compare` may be called. */
  async remove(): Promise<SentTransactions> {
    const tables = await this.#table.read(presentTables());
    const isPresent = tables.some((place) => tablePlaceText(place) === tablePlaceText(POLICY_PLACE));
    return this.#table.commit(isPresent ? [this.#program.removal()] : []);
  }

  counts(): Promise<readonly ProfileCounts[]> {
    return this.#table.read(this.#program.counts());
  }
}

function* presentTables(): Look<readonly TablePlace[]> {
  return readTables(yield [tablesDump()]);
}

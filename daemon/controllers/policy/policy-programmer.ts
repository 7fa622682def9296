/** Carries out a program's results: its queries, then its transactions. */
import { POLICY_CUT_TABLE, POLICY_TABLE } from "../../../pkg/footprint.ts";
import type { Look } from "../../../pkg/netlink/look.ts";
import { NFPROTO } from "../../../pkg/netlink/nftables.ts";
import { readTables, type TablePlace, tablePlaceText, tablesDump } from "../../../pkg/nft/ruleset.ts";
import { removeTable } from "../../../pkg/nft/table.ts";
import { cutTable } from "../../../pkg/policy/cut-table.ts";
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
const CUT_PLACE: TablePlace = { family: NFPROTO.inet, table: POLICY_CUT_TABLE };

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

  /** Removes the table, and that of cut connections, if they exist. Afterwards only `compare` may be called. */
  async remove(): Promise<SentTransactions> {
    const present = new Set((await this.#table.read(presentTables())).map(tablePlaceText));
    return this.#table.commit([
      ...(present.has(tablePlaceText(POLICY_PLACE)) ? [this.#program.removal()] : []),
      ...(present.has(tablePlaceText(CUT_PLACE)) ? [removeTable(cutTable([]))] : []),
    ]);
  }

  counts(): Promise<readonly ProfileCounts[]> {
    return this.#table.read(this.#program.counts());
  }
}

function* presentTables(): Look<readonly TablePlace[]> {
  return readTables(yield [tablesDump()]);
}

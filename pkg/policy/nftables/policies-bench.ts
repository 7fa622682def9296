/** For tests: runs the program on an nf_tables in memory. */
import { answered } from "../../netlink/look.ts";
import { readRuleset } from "../../netlink/ruleset.ts";
import { fakeBlockingNetlink } from "../../nft/fake-blocking-netlink.ts";
import { FakeNftables } from "../../nft/fake-nftables.ts";
import type { PolicySettings, ProfileCounts, Transaction } from "../program.ts";
import type { PolicyTables } from "../tables.ts";
import { NftablesPolicies } from "./nftables-policies.ts";

export const SETTINGS: PolicySettings = { isAudit: false, hasLog: true };

export class Kernel {
  readonly nftables = new FakeNftables();
  readonly netlink = fakeBlockingNetlink(this.nftables);

  compare(program: NftablesPolicies, tables: PolicyTables, settings = SETTINGS): readonly Transaction[] {
    return answered(program.compare(tables, settings), (questions) => readRuleset(this.netlink, questions));
  }

  counts(program: NftablesPolicies): readonly ProfileCounts[] {
    return answered(program.counts(), (questions) => readRuleset(this.netlink, questions));
  }

  /** Calls `each` after each transaction. */
  carryOut(transactions: readonly Transaction[], each: () => void = () => undefined): void {
    for (const transaction of transactions) {
      this.netlink.commit(transaction);
      each();
    }
  }

  /** A kernel with `tables`, and the program that made it. */
  static with(tables: PolicyTables, largest?: number): { kernel: Kernel; program: NftablesPolicies } {
    const [kernel, program] = [new Kernel(), new NftablesPolicies(largest)];
    kernel.carryOut(kernel.compare(program, tables));
    return { kernel, program };
  }
}

export const words = (transactions: readonly Transaction[]) =>
  transactions.map((requests) => requests.map(({ text }) => text));

/** Adds elements to a table that its stamp shows to be intact (`stamp.ts`), at a cost that does not depend on its elements. */
import type { Message, Request } from "../netlink/message.ts";
import { changeOf, changeSeen, readGeneration, readRuleset } from "../netlink/ruleset.ts";
import type { System } from "../sys/system.ts";
import { tableQuestions } from "./comparison.ts";
import { readStamped } from "./stamp.ts";
import { addElements, type Table } from "./table.ts";

/**
 * Adds the elements of `table`, after a look at the stamp only. If the table is missing or not intact, or the kernel
 * refuses an element (EEXIST, ENOENT), reads the whole table and commits `plan` instead, as `changeRuleset` does.
 */
export function addToStamped(
  system: System,
  table: Table,
  plan: (dumped: readonly Message[]) => readonly Request[],
): void {
  let isFirst = true;
  changeSeen(
    system,
    (netfilter) => {
      const isIntact = isFirst && readStamped(netfilter, table).parts !== undefined;
      isFirst = false;
      if (isIntact) return undefined;
      return { generation: readGeneration(netfilter), dumped: readRuleset(netfilter, tableQuestions(table)) };
    },
    (seen) =>
      seen === undefined ? changeOf(additions(table), undefined) : changeOf(plan(seen.dumped), seen.generation),
  );
}

function additions(table: Table): Request[] {
  return table.sets.flatMap((set) => addElements(table, set));
}

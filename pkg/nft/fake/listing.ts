import type { SetElement } from "../../netlink/nftables.ts";
import { meaningOf } from "../meaning.ts";
import { familyName } from "../ruleset.ts";
import { readComment } from "../userdata.ts";
import { inDumpOrder } from "./element-store.ts";
import type { RulesetState, TableState } from "./state.ts";

/** Lists one line for each object, starting with family and table; without handles and counters. */
export function listRuleset(tables: RulesetState): string[] {
  return [...tables.values()].flatMap(listTable);
}

function listTable(table: TableState): string[] {
  const place = `${familyName(table.family)} ${table.name}`;
  const chains = [...table.chains.values()].flatMap(({ name, base, rules, userdata }) => [
    `${place} chain ${name} ${JSON.stringify(base ?? {})}${commentText(userdata)}`,
    ...rules.map((rule) => `${place} rule ${name}${commentText(rule.userdata)} ${meaningOf(rule.expressions)}`),
  ]);
  const sets = [...table.sets.values()].flatMap((set) => [
    `${place} set ${set.name} ${[set.flags, set.keyType, set.keyLength, set.dataType ?? "", set.dataLength ?? ""].join()}`,
    ...inDumpOrder(set).map((element) => `${place} element ${set.name} ${elementText(element)}`),
  ]);
  return [`${place} flags ${table.flags}${commentText(table.userdata)}`, ...chains, ...sets];
}

function elementText({ key, keyEnd, flags, data, userdata }: SetElement): string {
  const bytes = [key, keyEnd, data].map((each) => each?.value?.join(".") ?? "").join(" ");
  const { code = "", chain = "" } = data?.verdict ?? {};
  return `${bytes} ${flags ?? ""} ${code} ${chain}${commentText(userdata)}`;
}

function commentText(userdata: Uint8Array | undefined): string {
  const comment = readComment(userdata);
  return comment === undefined ? "" : ` "${comment}"`;
}

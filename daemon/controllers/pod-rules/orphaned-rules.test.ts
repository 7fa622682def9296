import { expect, test } from "vitest";
import { OrphanedRules } from "./orphaned-rules.ts";

const [GONE, LINKED, MACVLAN] = ["gone", "linked", "macvlan"].map((id) => `cni:net/${id}/eth0`) as [
  string,
  string,
  string,
];
const hostEndsOf = (...marks: string[]) => new Map(marks.map((mark, at) => [mark, `veth${at}`]));
const remembering =
  (...marks: string[]) =>
  () => ({ isEmpty: marks.length === 0, has: (mark: string) => marks.includes(mark) });

test("rules are orphaned if their attachment has neither a link nor a result, now and a minute later", () => {
  const rules = new OrphanedRules();
  const owners = new Set([GONE, LINKED, MACVLAN, "site:web"]);
  const find = (nowMs: number) => [...rules.find(owners, hostEndsOf(LINKED), remembering(MACVLAN), nowMs)];
  expect(find(0)).toEqual([]);
  expect(find(59_999)).toEqual([]);
  expect(find(60_000)).toEqual([GONE]);
});

test("a link or a result that appears in the meantime keeps the rules permanently, and later rules are not candidates", () => {
  const rules = new OrphanedRules();
  const owners = new Set([GONE, LINKED, MACVLAN]);
  rules.find(owners, hostEndsOf(), remembering("cni:net/other/eth0"), 0);
  expect(rules.find(owners, hostEndsOf(LINKED), remembering(MACVLAN), 30_000)).toEqual(new Set());
  const later = new Set([...owners, "cni:net/later/eth0"]);
  for (const nowMs of [60_000, 200_000])
    expect(rules.find(later, hostEndsOf(), remembering("cni:net/other/eth0"), nowMs)).toEqual(new Set([GONE]));
});

test("if the runtime has no results at all, no attachment counts as ended until it has one", () => {
  const rules = new OrphanedRules();
  const owners = new Set([GONE]);
  for (const nowMs of [0, 60_000]) expect(rules.find(owners, hostEndsOf(), remembering(), nowMs)).toEqual(new Set());
  expect(rules.find(owners, hostEndsOf(), remembering(MACVLAN), 120_000)).toEqual(new Set([GONE]));
});

test("the runtime's results are read only if a link is missing", () => {
  const rules = new OrphanedRules();
  const fail = () => {
    throw new Error("asked");
  };
  expect(rules.find(new Set([LINKED, "site:web"]), hostEndsOf(LINKED), fail, 0)).toEqual(new Set());
  expect(rules.find(new Set([LINKED]), hostEndsOf(), fail, 60_000)).toEqual(new Set());
});

import { describe, expect, test } from "vitest";
import { Indexer, type StoreChange, type StoreEntry } from "./indexer.ts";
import { keyOf } from "./resource.ts";

function entry(key: string, value: string, uid = "u1"): StoreEntry<string> {
  const [namespace = "", name = ""] = key.split("/");
  return { key: keyOf(namespace, name), namespace, name, uid, value };
}

function start() {
  const changes: StoreChange<string>[] = [];
  const indexer = new Indexer<string>(
    (a, b) => a === b,
    (change) => changes.push(change),
  );
  /** Returns the changes since the last call, as "key before>after". */
  const reported = () => changes.splice(0).map(({ key, before, after }) => `${key} ${before?.value}>${after?.value}`);
  return { indexer, changes, reported };
}

describe("Indexer", () => {
  test("reports only added, changed and removed entries", () => {
    const { indexer, reported } = start();
    indexer.put(entry("a/x", "1"));
    indexer.put(entry("a/x", "1"));
    indexer.put(entry("a/x", "2"));
    indexer.remove("a/x");
    indexer.remove("a/x");
    expect(reported()).toEqual(["a/x undefined>1", "a/x 1>2", "a/x 2>undefined"]);
    expect([indexer.size, indexer.list(), indexer.get("a/x")]).toEqual([0, [], undefined]);
  });

  test("keeps its entry if the new one is equal", () => {
    const { indexer } = start();
    const first = entry("a/x", "1");
    indexer.put(first);
    indexer.put(entry("a/x", "1"));
    expect(indexer.get("a/x")).toBe(first);
  });

  test("reports the differences of a replaced set; another uid is a difference", () => {
    const { indexer, changes } = start();
    for (const key of ["a/kept", "a/gone", "a/changed", "a/anew"]) indexer.put(entry(key, "1"));
    changes.length = 0;
    indexer.replace([
      entry("a/kept", "1"),
      entry("a/changed", "2"),
      entry("a/anew", "1", "u2"),
      entry("b/kept", "1", "u3"),
    ]);
    const uids = changes.map(({ key, before, after }) => [key, before?.uid, after?.uid]);
    expect(uids).toEqual([
      ["a/gone", "u1", undefined],
      ["a/changed", "u1", "u1"],
      ["a/anew", "u1", "u2"],
      ["b/kept", undefined, "u3"],
    ]);
    expect(indexer.size).toBe(4);
  });
});

describe("an index", () => {
  const values = (entries: readonly StoreEntry<string>[]) => entries.map(({ key }) => key).sort();

  test("is updated by puts, changed index keys and removals, and drops keys without entries", () => {
    const { indexer } = start();
    const index = indexer.addIndex(({ namespace, value }) => (value === "" ? undefined : `${namespace}/${value}`));
    indexer.put(entry("a/x", "web"));
    indexer.put(entry("a/y", "web"));
    indexer.put(entry("b/x", "web"));
    expect(values(index.get("a/web"))).toEqual(["a/x", "a/y"]);
    indexer.put(entry("a/x", "dns"));
    indexer.put(entry("a/y", ""));
    expect([values(index.get("a/web")), values(index.get("a/dns"))]).toEqual([[], ["a/x"]]);
    indexer.remove("a/x");
    indexer.replace([]);
    expect(index.size).toBe(0);
  });

  test("contains earlier entries under all of their keys, and is current when a change is reported", () => {
    let look = () => 0;
    const seen: number[] = [];
    const indexer = new Indexer<string>(
      (a, b) => a === b,
      () => seen.push(look()),
    );
    indexer.put(entry("a/x", "1 2"));
    const index = indexer.addIndex(({ value }) => value.split(" "));
    expect([values(index.get("1")), values(index.get("2")), values(index.get("3"))]).toEqual([["a/x"], ["a/x"], []]);
    look = () => index.get("late").length;
    indexer.put(entry("a/y", "late"));
    expect(seen).toEqual([0, 1]);
  });

  test("finds entries in constant time", () => {
    const { indexer } = start();
    let calls = 0;
    const index = indexer.addIndex(({ value }) => {
      calls++;
      return value;
    });
    for (let n = 0; n < 1000; n++) indexer.put(entry(`a/x${n}`, `v${n}`));
    calls = 0;
    expect(values(index.get("v500"))).toEqual(["a/x500"]);
    expect(calls).toBe(0);
    indexer.put(entry("a/x500", "other"));
    expect(calls).toBe(2);
  });
});

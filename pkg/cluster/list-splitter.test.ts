import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ListSplitter } from "./list-splitter.ts";

/** Pushes `text` in pieces of `size` bytes. */
function split(text: string, size = 1 << 20): { items: unknown[]; list: unknown } {
  const bytes = new TextEncoder().encode(text);
  const splitter = new ListSplitter();
  const items: string[] = [];
  for (let at = 0; at < bytes.length; at += size) items.push(...splitter.push(bytes.subarray(at, at + size)));
  return { items: items.map((item) => JSON.parse(item) as unknown), list: JSON.parse(splitter.list) };
}

describe("ListSplitter", () => {
  test.each([
    ["objects", '{"kind":"L","items":[{"a":1},{"b":[{}]}],"z":{"c":1}}', [{ a: 1 }, { b: [{}] }], [0, 0]],
    ["spaces and lines", '{ "metadata": {} ,\n"items" : [\n {"a": 1} ,\n {}\n ]\n}\n', [{ a: 1 }, {}], [0, 0]],
    ["no items", '{"items":[]}', [], []],
    ["null", '{"items":null}', [], null],
    ["arrays", '{"items":[[{}],[]]}', [[{}], []], [0, 0]],
    ["values that are neither objects nor arrays", '{"items":[0,"}",{"a":"]"},null]}', [{ a: "]" }], [0, "}", 0, null]],
  ])("returns the items of a list with %s, and the list with placeholders", (_, text, items, placeholders) => {
    for (const size of [1, 2, 3, 7, text.length]) {
      const { items: got, list } = split(text, size);
      expect(got).toEqual(items);
      expect(list).toEqual({ ...(JSON.parse(text) as object), items: placeholders });
    }
  });

  test.each([
    ["deeper", '{"status":{"items":[{}]}}'],
    ["another key", '{"old items":[{}],"x\\"items":[{}],"items ":[{}]}'],
    ["a value", '{"a":"items","b":[{}]}'],
    ["not an array", '{"items":{"items":[{}]}}'],
    ["not an object", '[{"items":[{}]}]'],
  ])("returns no items if the name items is %s", (_, text) => {
    const { items, list } = split(text);
    expect(items).toEqual([]);
    expect(list).toEqual(JSON.parse(text));
  });

  test.each([
    '{"items":[{}{}]}',
    '{"items":[{},,{}]}',
    '{"items":[{}',
    '{"items":[{}]}}',
    '{"items":[{]}]}',
    '\ufeff{"items":[]}',
  ])("leaves the error in %s to the parser", (text) => {
    expect(() => JSON.parse(text)).toThrow();
    expect(() => split(text)).toThrow();
  });

  test("returns what JSON.parse returns, however the bytes are cut", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom('"', "\\", '\\"', "{", "]", "é€😀", '{"items":['),
    );
    const item = fc.dictionary(text, fc.oneof(text, fc.jsonValue()));
    fc.assert(
      fc.property(fc.array(item), item, fc.integer({ min: 1, max: 40 }), (items, metadata, size) => {
        const got = split(JSON.stringify({ kind: "List", metadata, items }), size);
        const plain = JSON.parse(JSON.stringify({ items, metadata })) as { items: unknown[]; metadata: unknown };
        expect(got.items).toEqual(plain.items);
        expect(got.list).toEqual({ kind: "List", metadata: plain.metadata, items: plain.items.map(() => 0) });
      }),
    );
  });
});

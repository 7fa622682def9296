import { expect, test } from "vitest";
import { jsonText } from "./json.ts";

test("prints bigints with all digits, and everything else as JSON.stringify does", () => {
  const data = { name: 'a "b"', list: [1, null, { deep: true }] };
  expect(jsonText(data)).toBe(JSON.stringify(data, null, 2));
  expect(jsonText({ capacity: 2n ** 64n, small: 253n, text: "18446744073709551616" })).toBe(
    '{\n  "capacity": 18446744073709551616,\n  "small": 253,\n  "text": "18446744073709551616"\n}',
  );
});

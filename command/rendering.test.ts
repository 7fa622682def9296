import { expect, test } from "vitest";
import { renderBlocks } from "./rendering.ts";

const PLAINLY = { columns: undefined, isColoured: false };

test("a paragraph keeps line breaks, and replaces other control characters unless it is verbatim", () => {
  const block = { kind: "text", text: "link \u001b[2J\n\tup", indent: 2 } as const;
  expect(renderBlocks([block], PLAINLY)).toBe("  link \ufffd[2J\n  \ufffdup\n");
  expect(renderBlocks([{ ...block, indent: 0, isVerbatim: true }], PLAINLY)).toBe("link \u001b[2J\n\tup\n");
});

test("a table replaces control characters in cells, and prints one line per row", () => {
  const rows = [
    ["net\u001b[31m", { text: "c\r\n1\u0007\u009b2J", tone: "bad" as const }],
    // No control characters, so these are unchanged.
    ["größe", "\u007f日本"],
  ];
  expect(renderBlocks([{ kind: "table", head: ["A", "B"], rows }], PLAINLY)).toBe(
    "A         B\nnet\ufffd[31m  c\ufffd\ufffd1\ufffd\ufffd2J\ngröße     \ufffd日本\n",
  );
});

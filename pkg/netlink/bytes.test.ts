import { expect, test } from "vitest";
import { ByteWriter } from "./bytes.ts";

test.each([
  ["u8", (to: ByteWriter) => to.u8(1), [1]],
  ["u16", (to: ByteWriter) => to.u16(1), [1, 0]],
  ["u32", (to: ByteWriter) => to.u32(1), [1, 0, 0, 0]],
  ["i32", (to: ByteWriter) => to.i32(-2), [254, 255, 255, 255]],
  ["u64", (to: ByteWriter) => to.u64(1n), [1, 0, 0, 0, 0, 0, 0, 0]],
  ["bytes", (to: ByteWriter) => to.bytes(Uint8Array.of(1, 2)), [1, 2]],
] as const)("grows the buffer for %s", (_, write, expected) => {
  const writer = new ByteWriter(4);
  writer.bytes(Uint8Array.of(9, 9, 9, 9));
  write(writer);
  expect([...writer.finish()]).toEqual([9, 9, 9, 9, ...expected]);
});

import { expect, test } from "vitest";
import { execute } from "./execute.ts";

test("returns a program's output, and its error output if it fails", async () => {
  expect(await execute("echo", ["two", "words"])).toBe("two words\n");
  await expect(execute("ls", ["/no/such/folder"])).rejects.toThrow(/^ls \/no\/such\/folder: .*no\/such\/folder/);
});

test("a missing program is not a failure", async () => {
  expect(await execute("no-such-program", [])).toBeUndefined();
});

test("passes the input to the program", async () => {
  expect(await execute("cat", [], { input: "line\n".repeat(100_000) })).toHaveLength(500_000);
});

test("a program that does not read its input is not a failure", async () => {
  expect(await execute("true", [], { input: "x".repeat(1_000_000) })).toBe("");
});

test("kills a program that exceeds its time limit", async () => {
  await expect(execute("sleep", ["60"], { timeLimitMs: 50 })).rejects.toThrow(/^sleep 60: /);
});

import { expect, test } from "vitest";
import { execute } from "./execute.ts";

test("what a program prints, and what it says when it fails", async () => {
  expect(await execute("echo", ["two", "words"])).toBe("two words\n");
  await expect(execute("ls", ["/no/such/folder"])).rejects.toThrow(/^ls \/no\/such\/folder: .*no\/such\/folder/);
});

test("a program that is not there is no failure", async () => {
  expect(await execute("no-such-program", [])).toBeUndefined();
});

test("what a program reads is given to it", async () => {
  expect(await execute("cat", [], { input: "line\n".repeat(100_000) })).toHaveLength(500_000);
});

test("a program that reads nothing of its input is no failure", async () => {
  expect(await execute("true", [], { input: "x".repeat(1_000_000) })).toBe("");
});

test("a program that takes too long is ended", async () => {
  await expect(execute("sleep", ["60"], { timeLimitMs: 50 })).rejects.toThrow(/^sleep 60: /);
});

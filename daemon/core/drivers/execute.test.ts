import { expect, test } from "vitest";
import { execute } from "./execute.ts";

test("what a program prints, and what it says when it fails", async () => {
  expect(await execute("echo", ["two", "words"])).toBe("two words\n");
  await expect(execute("ls", ["/no/such/folder"])).rejects.toThrow(/^ls \/no\/such\/folder: .*no\/such\/folder/);
});

test("a program that is not there is no failure", async () => {
  expect(await execute("no-such-program", [])).toBeUndefined();
});

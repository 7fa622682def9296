import { expect, test } from "vitest";
import { CniError } from "./errors.ts";
import { undoing } from "./undo.ts";

test("work that succeeds keeps what it did", () => {
  const log: string[] = [];
  const value = undoing((undo) => {
    undo.push(() => log.push("undone"));
    return 7;
  });
  expect([value, log]).toEqual([7, []]);
});

test("work that fails is taken back in reverse order, and its error thrown as it was", () => {
  const log: string[] = [];
  const cause = new CniError(11, "try again");
  expect(() =>
    undoing((undo) => {
      undo.push(() => log.push("first"));
      undo.push(() => log.push("second"));
      throw cause;
    }),
  ).toThrow(cause);
  expect(log).toEqual(["second", "first"]);
});

test("a step back that fails is told, and the others still run", () => {
  const log: string[] = [];
  let thrown: unknown;
  try {
    undoing((undo) => {
      undo.push(() => log.push("first"));
      undo.push(() => {
        throw new Error("device busy");
      });
      throw new CniError(7, "bad range", { details: "see the manual" });
    });
  } catch (error) {
    thrown = error;
  }
  expect(log).toEqual(["first"]);
  expect(thrown).toMatchObject({ code: 7, message: "bad range" });
  expect((thrown as CniError).details).toBe("see the manual; taking back what ADD had done failed too: device busy");
});

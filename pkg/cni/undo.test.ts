import { expect, test } from "vitest";
import { CniError } from "./errors.ts";
import { undoing } from "./undo.ts";

test("runs no undo step if the work succeeds", () => {
  const log: string[] = [];
  const value = undoing((undo) => {
    undo.push(() => log.push("undone"));
    return 7;
  });
  expect([value, log]).toEqual([7, []]);
});

test("runs the undo steps in reverse order if the work fails, and throws its error unchanged", () => {
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

test("reports an undo step that fails and still runs the others", () => {
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
  expect((thrown as CniError).details).toBe("see the manual; undoing ADD's changes failed, too: device busy");
});

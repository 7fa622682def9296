import { TestRunner } from "vitest";

/**
 * Makes the tests of a `describe.concurrent` run one after the other: only the suites run at the same time. Called
 * first in each of these suites. Without it, every test inherits `concurrent` from its suite.
 */
export function inOrder(): void {
  const { options } = TestRunner.getCurrentSuite();
  if (options === undefined) throw new Error("inOrder must be called in a suite");
  options.concurrent = false;
}

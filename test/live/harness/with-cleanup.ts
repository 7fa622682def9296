import { Cleanup } from "./cleanup.ts";

/** A test that has a Cleanup of its own, so that others may run at the same time. */
export function withCleanup<T extends unknown[]>(
  body: (cleanup: Cleanup, ...row: T) => Promise<void>,
): (...row: T) => Promise<void> {
  return async (...row) => {
    const cleanup = new Cleanup();
    try {
      await body(cleanup, ...row);
    } finally {
      await cleanup.run();
    }
  };
}

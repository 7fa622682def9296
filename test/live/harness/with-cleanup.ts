import { Cleanup } from "./cleanup.ts";

/** Wraps a test with its own Cleanup, so that tests can run at the same time. */
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

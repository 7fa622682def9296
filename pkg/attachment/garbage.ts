/** GC's way: every step is tried, and what failed is told together at the end. */
import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";

/** Runs all `steps`; throws one `CniError` with what failed. */
export function collectGarbage(request: CniRequest, steps: readonly (() => void)[]): void {
  const failures = steps.flatMap((step) => {
    try {
      step();
      return [];
    } catch (error) {
      return [messageOf(error)];
    }
  });
  if (failures.length > 0) throw new CniError(ErrorCode.internal, `GC of ${request.network}: ${failures.join("; ")}`);
}

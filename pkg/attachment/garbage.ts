/** GC runs every step and reports all failures together at the end. */
import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import type { CniRequest } from "../cni/plugin.ts";

/** Runs all `steps`. Throws one `CniError` with all failures. */
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

/** host-gw has only routes, which are inspected in the same way for every backend. */
import type { Inspection } from "../inspection.ts";

export const inspection: Inspection = { kinds: [], checks: [] };

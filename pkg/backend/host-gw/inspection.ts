/** Routes are all that host-gw has: what there is to say of them is the same for every backend. */
import type { Inspection } from "../inspection.ts";

export const inspection: Inspection = { kinds: [], checks: [] };

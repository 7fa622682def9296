/** The cases that need what only the emulated machine's kernel has; see differential.live.test.ts. */
import { compareTables } from "./suite.ts";

await compareTables(({ inVm = false }) => inVm, { isPartial: true });

/** Cases that need features of the emulated machine's kernel; see differential.live.test.ts. */
import { compareTables } from "./suite.ts";

await compareTables(({ inVm = false }) => inVm, { isPartial: true });

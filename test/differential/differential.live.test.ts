/**
 * Compares every plugin with the reference executable of the same name: results, exit statuses, error codes, the
 * kernel's state and files, after every call.
 *
 * To add a plugin, write `cases/<plugin>.ts` with an exported `table` (table.ts has its format; cases/loopback.ts is a
 * short example), then run `WEFT_TEST_ALL=1 vitest run --project live differential -t <plugin>`. Each difference is
 * printed with its place in the story, such as "1 ADD/node/links/cni0/mtu". Either it is a bug in weft, or it is intended: then it gets
 * a row in differences.ts, with a reason for readers of the reference's documentation. A row that no longer occurs
 * fails the last test.
 *
 * Not compared: texts of errors; link-local addresses; packet filters, which differ by design (a `Script` step sends
 * traffic, and prints which hosts answer). Cases with `inVm` run in differential.vm.test.ts.
 */
import { compareTables } from "./suite.ts";

/** `hack/test differential` compares all cases; `npm test` takes every fourth of each plugin's. */
const EVERY = process.env.WEFT_TEST_ALL === "1" ? 1 : 4;

await compareTables(({ inVm = false }, at) => !inVm && at % EVERY === 0, { isPartial: EVERY > 1 });

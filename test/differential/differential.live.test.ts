/**
 * Every plugin beside the reference executable of the same name: results, exit statuses, codes of errors, the kernel's
 * state and files, after every call.
 *
 * To add a plugin: `cases/<plugin>.ts` with an exported `table` (its words are in table.ts; cases/loopback.ts is a short
 * one), then `WEFT_TEST_ALL=1 vitest run --project live differential -t <plugin>`. What differs is printed with its place
 * in the story, as "1 ADD/node/links/cni0/mtu". Either it is a mistake of ours, or it is meant: then it gets a row in
 * differences.ts, which a reader of the reference's documentation would want to have explained. A row that no longer occurs
 * fails the last test.
 *
 * Not compared: words of errors; link-local addresses; packet filters, which ours does otherwise by design (a `Script` step
 * sends traffic, and prints who answers). Cases with `inVm` run in differential.vm.test.ts.
 */
import { compareTables } from "./suite.ts";

/** `hack/test differential` compares all cases; `npm test` takes every fourth of each plugin's. */
const EVERY = process.env.WEFT_TEST_ALL === "1" ? 1 : 4;

await compareTables(({ inVm = false }, at) => !inVm && at % EVERY === 0, { isPartial: EVERY > 1 });

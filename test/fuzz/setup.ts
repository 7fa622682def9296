/** Sets the seed of all random unit tests, and the number of cases of those that name none. */
import fc from "fast-check";
import { runs, seed } from "./samples.ts";

fc.configureGlobal({ numRuns: runs(100, 1000), ...(seed === undefined ? {} : { seed }) });

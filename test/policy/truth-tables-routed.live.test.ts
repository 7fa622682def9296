/** The truth tables again, with pods that are routed: without a bridge and without an overlay. */
import { truthTables } from "./suite.ts";

/** The sample has one of this many cases. */
const EVERY = 6;

truthTables({ attach: "ptp", backend: "host-gw" }, (_, at) => at % EVERY === 0);

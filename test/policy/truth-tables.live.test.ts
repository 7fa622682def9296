/**
 * Truth tables with real traffic: for each case, policies are created on a cluster of two nodes, and after each step all
 * pods and nodes probe each other. Expected tables come from a second reading of the specification (oracle.ts).
 *
 * To run one case: `WEFT_TEST_ALL=1 hack/in-node vitest run --project live truth-tables.live -t NAME`. WEFT_POLICY_VERBOSE=1
 * adds the rules and logs of both nodes to failures.
 */
import { isSampled } from "./cases/all.ts";
import { truthTables } from "./suite.ts";

truthTables({ attach: "bridge", backend: "vxlan" }, isSampled);

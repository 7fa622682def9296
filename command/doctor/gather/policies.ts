/** Reads weftd's report of policies, the table in the kernel, and signs of other policy engines. */
import type { BlockingNetlink } from "../../../pkg/netlink/blocking.ts";
import { readRuleset } from "../../../pkg/netlink/ruleset.ts";
import { readTables, tablesDump } from "../../../pkg/nft/ruleset.ts";
import type { System } from "../../../pkg/sys/system.ts";
import { askPolicies, POLICY_PAGE_LIMIT_MS } from "../../node/policies-page.ts";
import { policyTablesIn } from "../../node/policy-tables.ts";
import { elsewhere } from "../../node/views.ts";
import type { PolicyFacts } from "../facts.ts";
import { AWS_PINS, findPolicyEngines } from "./policy-engines.ts";
import type { Asked } from "./services.ts";

export function readPolicies(
  system: System,
  { netfilter, chains, isAlive, metricsAddress, timeoutMs }: Asked,
): PolicyFacts {
  const answer = isAlive ? askPolicies(system, metricsAddress, Math.max(timeoutMs, POLICY_PAGE_LIMIT_MS)) : undefined;
  const tables = netfilter === undefined ? [] : tablesOf(netfilter);
  return {
    page: answer?.is === "answered" ? answer.page : undefined,
    hasTable: policyTablesIn(tables).hasPolicies,
    engines: findPolicyEngines({
      ...{ tables, chains },
      hasAwsPins: elsewhere(false, () => system.status(AWS_PINS) !== undefined),
    }),
  };
}

function tablesOf(netfilter: BlockingNetlink) {
  return readTables(readRuleset(netfilter, [tablesDump()]));
}

/**
 * The contract of the part of nf_tables that weft uses: errno and dumps after each transaction, as of Linux 6.18
 * (net/netfilter/nf_tables_api.c).
 */
import type { Cases } from "./case.ts";
import { chainCases } from "./chain-cases.ts";
import { dynamicCases } from "./dynamic-cases.ts";
import { expressionCases } from "./expression-cases.ts";
import { ruleCases } from "./rule-cases.ts";
import { setCases } from "./set-cases.ts";
import { stampCases } from "./stamp-cases.ts";
import { tableCases } from "./table-cases.ts";
import { transactionCases } from "./transaction-cases.ts";

export const cases: Cases = {
  ...tableCases,
  ...chainCases,
  ...ruleCases,
  ...expressionCases,
  ...dynamicCases,
  ...setCases,
  ...transactionCases,
  ...stampCases,
};

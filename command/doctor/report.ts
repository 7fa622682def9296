/** Formats findings: one line for a healthy node, otherwise by group, and the most severe first within a group. */

import type { Finding, Severity } from "../../pkg/backend/inspection.ts";
import { type Block, ExitStatus, text } from "../outcome.ts";
import type { Facts } from "./facts.ts";
import { CHECK_GROUPS, type Check } from "./finding.ts";

export interface Reported extends Finding {
  readonly check: string;
  readonly group: Check["group"];
}

const ORDER: readonly Severity[] = ["error", "warning", "note"];
const TONE = { error: "bad", warning: "warning", note: "quiet" } as const;

/** Returns the findings of all checks, by group, and by severity within a group. */
export function judgeAll(checks: readonly Check[], facts: Facts): Reported[] {
  const found = checks.flatMap((check) =>
    check.judge(facts).map((finding): Reported => ({ check: check.name, group: check.group, ...finding })),
  );
  const rank = ({ group, severity }: Reported) => CHECK_GROUPS.indexOf(group) * ORDER.length + ORDER.indexOf(severity);
  return found.sort((a, b) => rank(a) - rank(b));
}

export function statusOf(findings: readonly Finding[]): ExitStatus {
  if (findings.some(({ severity }) => severity === "error")) return ExitStatus.faults;
  if (findings.some(({ severity }) => severity === "warning")) return ExitStatus.warnings;
  return ExitStatus.done;
}

export function reportBlocks(findings: readonly Reported[], summary: Summary): Block[] {
  const { node, checks, peers, leftOut } = summary;
  const name = node ?? "this node";
  const looked = `${checks} checks, ${peers} ${peers === 1 ? "peer" : "peers"}`;
  const unseen = leftOut.map(({ check, reason }) => text({ text: `skipped: ${check}: ${reason}`, tone: "quiet" }));
  if (findings.length === 0 && checks === 0) return [...unseen, text(`${name}: no check could run from here`)];
  if (findings.length === 0) return [...unseen, text({ text: `${name} is healthy: ${looked}`, tone: "good" })];
  const blocks: Block[] = [];
  let group: string | undefined;
  for (const finding of findings) {
    if (finding.group !== group) blocks.push(text({ text: finding.group, tone: "strong" }));
    group = finding.group;
    const { severity, check, seen, why, run, advice } = finding;
    blocks.push(text({ text: `${severity} (${check}): ${seen}`, tone: TONE[severity] }, 2), text(`why: ${why}`, 4));
    if (run !== undefined) blocks.push(text(`run: ${run}`, 4));
    if (advice !== undefined)
      blocks.push(text(`${run === undefined ? "do" : "note"}: ${advice.replace(/^and /, "")}`, 4));
  }
  const counts = ORDER.map((severity) => ({
    severity,
    count: findings.filter((one) => one.severity === severity).length,
  }))
    .filter(({ count }) => count > 0)
    .map(({ severity, count }) => `${count} ${severity}${count === 1 ? "" : "s"}`);
  return [...blocks, ...unseen, text(`${name}: ${counts.join(", ")} (${looked})`)];
}

export interface Summary {
  /** The node's name, if it is known. */
  readonly node: string | undefined;
  readonly checks: number;
  readonly peers: number;
  /** Checks that could not observe their subject, with the reason. */
  readonly leftOut: readonly { readonly check: string; readonly reason: string }[];
}

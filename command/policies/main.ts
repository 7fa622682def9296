/** `weft policies`: shows which NetworkPolicies are in force on this node, and which present flows they would deny. */
import { POLICY_TABLE } from "../../pkg/footprint.ts";
import type { System } from "../../pkg/sys/system.ts";
import { formatAge } from "../ipam/ls.ts";
import { METRICS_ADDRESS, TIMEOUT } from "../node/options.ts";
import {
  askPolicies,
  askPreview,
  type PageFlow,
  type PagePolicy,
  POLICY_PAGE_LIMIT_MS,
  type PoliciesPage,
  type PolicyAnswer,
  type PreviewPage,
} from "../node/policies-page.ts";
import { readPolicyTables } from "../node/policy-tables.ts";
import { type Block, type Cell, CommandError, ExitStatus, type Outcome, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { flowsTable, policiesTable } from "./rows.ts";

export const policies = declareSubcommand({
  name: "policies",
  group: "Inspect",
  summary: "show NetworkPolicies on this node: the mode, their pods, and what they allow and deny",
  description: [
    "Shows whether this node enforces NetworkPolicies and ClusterNetworkPolicies, and why. For each policy, shows its tier, its directions, the number of pods of this node that it concerns, and counts of packets. ALLOWED counts first packets of connections that its rules matched. DENIED counts packets that were denied to or from its pods. The counts begin when weftd compiles the rules for these pods. Parts of a policy that weftd cannot read allow nothing, and are listed.",
    "--preview lists the present connections of this node that policies would deny if they began now. Use it before a switch from audit to enforce: established connections continue, so a connection in this list works now and fails when it is opened again.",
    "Queries weftd. The kernel keeps enforcing the last state if weftd does not run.",
    "The exit status is 0 if all is well, 4 if weftd warns or a policy has unreadable parts, and 5 if the kernel's table is not up to date. With --preview it is 0 if no present connection would be denied, 4 if some would be, and 1 if weftd does not answer.",
  ],
  arguments: {
    policy: {
      value: "[NAMESPACE/]NAME",
      about: "show only this policy, with its pods; with -n, NAME is enough; NAME alone is a ClusterNetworkPolicy",
      isOptional: true,
    },
  },
  options: {
    namespace: { kind: "text", value: "NAMESPACE", short: "n", about: "show only policies of this namespace" },
    pods: { kind: "flag", about: "list the pods of this node that each policy concerns" },
    preview: { kind: "flag", about: "list present connections that policies would deny" },
    metricsAddress: METRICS_ADDRESS,
    timeout: { ...TIMEOUT, about: "the time to wait for weftd's answer", default: POLICY_PAGE_LIMIT_MS },
  },
  examples: [
    { line: "policies", about: "show all policies" },
    { line: "policies default/allow-dns", about: "show one policy and its pods" },
    { line: "policies --preview", about: "list connections that enforcement would deny" },
    { line: "policies -n default -o json", about: "print the policies of a namespace as JSON" },
  ],
  printsData: true,
  run({ system, arguments: { policy }, options, progress }) {
    const wanted = wantedOf(policy, options.namespace);
    progress("querying weftd");
    return options.preview
      ? showPreview(askPreview(system, options.metricsAddress, options.timeout), wanted)
      : showPolicies(system, askPolicies(system, options.metricsAddress, options.timeout), wanted, options.pods);
  },
});

const TABLE = `inet ${POLICY_TABLE}`;
const ABSENT =
  "this weftd has no report of policies: it is older than this command, or it runs without Kubernetes (--nodes)";

interface Wanted {
  readonly policy: string | undefined;
  readonly namespace: string | undefined;
}

function wantedOf(name: string | undefined, namespace: string | undefined): Wanted {
  if (name === undefined) return { policy: undefined, namespace };
  const parts = name.split("/");
  if (parts.length > 2 || parts.includes(""))
    throw new CommandError(`${name}: expected NAMESPACE/NAME, or NAME`, { status: ExitStatus.usage });
  return { policy: parts.length === 1 && namespace !== undefined ? `${namespace}/${name}` : name, namespace };
}

function isWanted({ policy, namespace }: Wanted, name: string): boolean {
  if (policy !== undefined) return name === policy;
  return namespace === undefined || name.startsWith(`${namespace}/`);
}

function showPolicies(system: System, answer: PolicyAnswer<PoliciesPage>, wanted: Wanted, pods: boolean): Outcome {
  if (answer.is !== "answered") return withoutReport(system, answer);
  const { page } = answer;
  const shown = page.policies.filter(({ policy }) => isWanted(wanted, policy));
  if (wanted.policy !== undefined && shown.length === 0)
    throw new CommandError(`weftd has no policy ${wanted.policy}`, { remedy: "weft policies lists all policies." });
  return {
    status: statusOf(page, shown),
    blocks: [
      ...stateBlocks(page),
      ...(page.mode === "off"
        ? []
        : shown.length === 0
          ? [text("There are no policies.")]
          : [text(""), policiesTable(shown, { hasPods: pods || wanted.policy !== undefined })]),
    ],
    data: { source: "weftd", ...page, policies: shown },
  };
}

function statusOf({ mode, isSynced, lastSync, warnings }: PoliciesPage, shown: readonly PagePolicy[]): ExitStatus {
  // weftd reports the mode off until it has decided.
  if (mode === "off") return isSynced ? ExitStatus.done : ExitStatus.faults;
  if (!isSynced || lastSync?.error !== undefined) return ExitStatus.faults;
  const hasProblem = shown.some(({ problems }) => problems.length > 0);
  return hasProblem || warnings.length > 0 ? ExitStatus.warnings : ExitStatus.done;
}

/** Without weftd's report, only the existence of the kernel's table is known: it contains no names. */
function withoutReport(system: System, answer: Exclude<PolicyAnswer<PoliciesPage>, { is: "answered" }>): Outcome {
  const { hasPolicies } = readPolicyTables(system);
  const why = answer.is === "silent" ? `weftd does not answer (${answer.reason})` : ABSENT;
  const kernel = hasPolicies
    ? `The kernel's table ${TABLE} stays in force as weftd left it, and is not being updated`
    : `There is no table ${TABLE}, so this node enforces no policy`;
  return {
    status: answer.is === "silent" || hasPolicies ? ExitStatus.faults : ExitStatus.warnings,
    blocks: [text({ text: `${why}. ${kernel}.`, tone: "warning" })],
    data: { source: null, hasTable: hasPolicies, policies: [] },
  };
}

const MODE_WORDS = {
  enforce: "denied packets are dropped",
  audit: "denied packets pass; they are counted and logged",
  off: "weftd ignores policies",
} as const;

function stateBlocks(page: PoliciesPage): Block[] {
  const { mode, modeReason, counts, isSynced, lastSync, warnings } = page;
  const decided = modeReason === "flag" ? "--network-policy" : modeReason;
  const effect = mode === "off" && !isSynced ? "weftd has not decided the mode yet" : MODE_WORDS[mode];
  const rows: [string, Cell][] = [
    ["effect", { text: effect, tone: mode === "enforce" ? "good" : "warning" }],
    ["decided by", decided],
  ];
  if (mode !== "off")
    rows.push(
      [
        "policies",
        `${countText(counts.policies, "NetworkPolic")} and ${countText(counts.clusterPolicies, "ClusterNetworkPolic")} in the cluster`,
      ],
      ["pods", `${counts.isolatedPods} of ${counts.localPods} on this node are isolated`],
      [
        "state",
        !isSynced
          ? { text: "waiting for the first lists of policies, Namespaces and Pods", tone: "warning" }
          : lastSync?.error !== undefined
            ? { text: `the last sync failed ${formatAge(lastSync.agoMs)} ago: ${lastSync.error}`, tone: "bad" }
            : {
                text: `in sync${lastSync === undefined ? "" : `, last ${formatAge(lastSync.agoMs)} ago`}`,
                tone: "good",
              },
      ],
    );
  rows.push(...warnings.map((words): [string, Cell] => ["warning", { text: words, tone: "warning" }]));
  return [{ kind: "table", head: ["MODE", mode], rows }];
}

function countText(count: number, stem: string): string {
  return `${count} ${stem}${count === 1 ? "y" : "ies"}`;
}

function showPreview(answer: PolicyAnswer<PreviewPage>, wanted: Wanted): Outcome {
  if (answer.is === "silent")
    throw new CommandError(`weftd does not answer (${answer.reason})`, {
      remedy: "Only a running weftd can judge connections. Run weft doctor for details.",
    });
  if (answer.is === "absent")
    throw new CommandError(ABSENT, {
      remedy: "Update weftd, or check --network-policy: with off there is no preview.",
    });
  const { mode, flows, denied } = answer.page;
  const shown = denied.filter((flow) => isConcerned(wanted, flow));
  const count = shown.reduce((sum, flow) => sum + flow.flows, 0);
  const sum =
    count === 0
      ? `Policies would deny none of this node's ${flows} connections.`
      : `Policies would deny ${count} of this node's ${flows} connections if they began now. ${PREVIEW_WORDS[mode]}`;
  return {
    status: count === 0 ? ExitStatus.done : ExitStatus.warnings,
    blocks: [
      ...(shown.length === 0 ? [] : [flowsTable(shown), text("")]),
      text({ text: sum, tone: count === 0 ? "good" : "warning" }),
    ],
    data: { mode, flows, deniedFlows: count, denied: shown },
  };
}

const PREVIEW_WORDS = {
  enforce: "They are older than the policy, and continue until they end.",
  audit: "The mode is audit, so they pass.",
  off: "The mode is off, so they pass.",
} as const;

/** With a policy, flows that it denies; with a namespace, flows that a policy of it or one of its pods denies. */
function isConcerned({ policy, namespace }: Wanted, { deniedBy, fromPod = "", toPod = "" }: PageFlow): boolean {
  if (policy !== undefined) return deniedBy.policies.includes(policy);
  if (namespace === undefined) return true;
  return [...deniedBy.policies, fromPod, toPod].some((name) => name.startsWith(`${namespace}/`));
}

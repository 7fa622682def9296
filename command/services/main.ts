/** `weft services`: what this node does with connections to Services, and why. */
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import { formatAge } from "../ipam/ls.ts";
import { readHeldCounts, readHeldFrontends } from "../node/held-services.ts";
import { METRICS_ADDRESS, TIMEOUT } from "../node/options.ts";
import {
  askServices,
  PAGE_LIMIT_MS,
  type PageNode,
  type PageState,
  type ServicesAnswer,
} from "../node/services-page.ts";
import { type Block, type Cell, CommandError, ExitStatus, text } from "../outcome.ts";
import { declareSubcommand } from "../subcommand.ts";
import { servicesTable } from "./rows.ts";
import { countedServices, heldServices, type SeenService } from "./sight.ts";

export const services = declareSubcommand({
  name: "services",
  group: "Inspect",
  summary: "show Services on this node: frontends, endpoints, and why others are not used",
  description: [
    "Shows each frontend of each Service (an address, port and protocol at which this node answers for it) with its kind, traffic policy and the number of its endpoints; frontends that another Service has, with that one's name, and those that no Service may have here; each endpoint, whether new connections go to it, and if not, why; and how many connections the kernel has counted.",
    "It asks weftd, and the kernel for the counts. Where no weftd answers it shows what the kernel's table alone tells, and says so: names of Services and unused endpoints are not in it.",
    "POLICY is internal for ClusterIPs; for external frontends cluster (all endpoints, masqueraded) or local (those on this node, under the client's own address). ENDPOINTS of policy local are those on this node, of all.",
    "The exit status is 0 where all is well, 4 where a Service lost a frontend, was refused one, or has another problem, 5 where the kernel's table is not kept up to date.",
  ],
  arguments: {
    service: { value: "NAMESPACE/NAME", about: "this Service alone; with -n its name is enough", isOptional: true },
  },
  options: {
    namespace: { kind: "text", value: "NAMESPACE", short: "n", about: "Services of this namespace alone" },
    noEndpoints: { kind: "flag", about: "frontends alone" },
    metricsAddress: METRICS_ADDRESS,
    timeout: { ...TIMEOUT, about: "how long to wait for weftd's answer", default: PAGE_LIMIT_MS },
  },
  examples: [
    { line: "services", about: "all of them" },
    { line: "services kube-system/kube-dns", about: "one of them" },
    { line: "services -n default --no-endpoints", about: "the frontends of a namespace" },
    { line: "services -o json", about: "for a machine" },
  ],
  printsData: true,
  run({ system, arguments: { service }, options, progress }) {
    const wanted = wantedOf(service, options.namespace);
    progress("asking weftd");
    const answer = askServices(system, options.metricsAddress, options.timeout, queryOf(wanted));
    progress("reading the kernel's table");
    const isNamed = answer.is === "answered";
    const [held, counts] = isNamed ? [undefined, readHeldCounts(system)] : [readHeldFrontends(system), undefined];
    if (!isNamed && held === undefined) {
      const why = answer.is === "silent" ? `no weftd answers (${answer.reason})` : NOT_OURS;
      return { status: ExitStatus.done, blocks: [text(`${why}, and there is no table ${TABLE}`)], data: NOTHING };
    }
    const seen = isNamed ? countedServices(answer.page.services, counts ?? []) : heldServices(held ?? []);
    if (isNamed && wanted.service !== undefined && seen.length === 0)
      throw new CommandError(`weftd knows no Service ${wanted.service}`, {
        remedy: "weft services lists all; headless Services and those of another proxy have no frontends.",
      });
    return {
      status: statusOf(answer, seen),
      blocks: [
        ...stateBlocks(answer, counts !== undefined),
        ...(seen.length === 0
          ? [text("There are no Services.")]
          : [text(""), servicesTable(seen, { hasEndpoints: !options.noEndpoints })]),
      ],
      data: {
        source: isNamed ? "weftd" : "kernel",
        state: isNamed ? answer.page.state : null,
        node: isNamed ? (answer.page.node ?? null) : null,
        services: options.noEndpoints ? seen.map(({ endpoints: _, ...rest }) => rest) : seen,
      },
    };
  },
});

const TABLE = `inet ${SERVICES_TABLE}`;
const NOT_OURS = "weftd's --service-proxy is none: Services are another program's";
const NOTHING = { source: null, state: null, node: null, services: [] };

interface Wanted {
  readonly service: string | undefined;
  readonly namespace: string | undefined;
}

function wantedOf(service: string | undefined, namespace: string | undefined): Wanted {
  if (service === undefined) return { service, namespace };
  const [first = "", name] = service.split("/");
  if (name === undefined && namespace !== undefined) return { service: `${namespace}/${first}`, namespace };
  if (name === undefined || first === "" || name === "")
    throw new CommandError(`${service}: expected NAMESPACE/NAME, or NAME with -n NAMESPACE`, {
      status: ExitStatus.usage,
    });
  return { service, namespace };
}

function queryOf({ service, namespace }: Wanted): string {
  if (service !== undefined) return `?service=${service}`;
  return namespace === undefined ? "" : `?namespace=${namespace}`;
}

function statusOf(answer: ServicesAnswer, services: readonly SeenService[]): ExitStatus {
  if (answer.is !== "answered" || !isKept(answer.page.state)) return ExitStatus.faults;
  const isMissing = services.some(({ frontends }) => frontends.some(({ connections }) => connections === null));
  if (isMissing) return ExitStatus.faults;
  const hasProblem = ({ lost = [], refused = [], problems = [] }: SeenService) =>
    lost.length + refused.length + problems.length > 0;
  return answer.page.state.warnings.length > 0 || services.some(hasProblem) ? ExitStatus.warnings : ExitStatus.done;
}

function isKept({ isOurs, isSynced, lastSync }: PageState): boolean {
  return isOurs && isSynced && lastSync?.error === undefined;
}

function stateBlocks(answer: ServicesAnswer, hasTable: boolean): Block[] {
  if (answer.is === "silent")
    return [
      warning(
        `No weftd answers (${answer.reason}): this is what the kernel's table ${TABLE} tells, and nothing keeps it up to date.`,
      ),
    ];
  if (answer.is === "not ours")
    return [
      warning(
        `${NOT_OURS}. The table ${TABLE} was left behind: once kube-proxy runs here, remove it by weft cleanup --services.`,
      ),
    ];
  const { state, node } = answer.page;
  const { mode, isOurs, isSynced, warnings, counts, lastSync } = state;
  const rows: [string, Cell][] = [
    ["services", `${counts.services}, with ${counts.frontends} frontends and ${counts.endpoints} endpoints`],
    [
      "state",
      !isOurs
        ? { text: "waiting: another program has the turn at Services", tone: "warning" }
        : !isSynced
          ? { text: "waiting for the first list of Services and EndpointSlices", tone: "warning" }
          : lastSync?.error !== undefined
            ? { text: `the last sync failed ${formatAge(lastSync.agoMs)} ago: ${lastSync.error}`, tone: "bad" }
            : {
                text: `in sync${lastSync === undefined ? "" : `, last ${formatAge(lastSync.agoMs)} ago`}`,
                tone: "good",
              },
    ],
    ...(hasTable ? [] : [["table", { text: `${TABLE} is missing`, tone: "bad" }] as [string, Cell]]),
    ...nodeRows(node),
    ...warnings.map((words): [string, Cell] => ["warning", { text: words, tone: "warning" }]),
  ];
  return [{ kind: "table", head: ["MODE", mode], rows }];
}

function nodeRows(node: PageNode | undefined): [string, Cell][] {
  if (node === undefined) return [];
  const { nodePortAddresses, externalIPs, masqueradeAll } = node;
  return [
    ["nodeports", nodePortAddresses.length === 0 ? "on no address" : `on ${nodePortAddresses.join(", ")}`],
    [
      "external",
      typeof externalIPs === "string" ? `externalIPs: ${externalIPs}` : `externalIPs in ${externalIPs.join(", ")}`,
    ],
    ...(masqueradeAll ? [["masquerade", "all connections to ClusterIPs"] as [string, Cell]] : []),
  ];
}

function warning(words: string): Block {
  return text({ text: words, tone: "warning" });
}

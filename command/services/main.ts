/** `weft services`: shows what this node does with connections to Services, and why. */
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
  summary: "show Services on this node: frontends, endpoints, and why endpoints are not used",
  description: [
    "Shows the frontends of each Service: the addresses, ports and protocols at which this node answers for it. Each frontend has its kind, its traffic policy, the number of its endpoints, and the number of connections that the kernel has counted. Frontends that belong to another Service, or that no Service may use, are listed with the reason. For each endpoint, shows whether it gets new connections, and if not, why.",
    "Queries weftd, and reads the counts from the kernel. If weftd does not answer, shows only the kernel's table and says so: the table contains no names of Services and no unused endpoints.",
    "POLICY is `internal` for ClusterIPs. For external frontends it is `cluster` (all endpoints, masqueraded) or `local` (only endpoints on this node; they see the client's address). For policy `local`, ENDPOINTS is the number on this node, of all.",
    "The exit status is 0 if all is well, 4 if a Service does not get a frontend or has another problem, and 5 if the kernel's table is not up to date.",
  ],
  arguments: {
    service: { value: "NAMESPACE/NAME", about: "show only this Service; with -n, NAME is enough", isOptional: true },
  },
  options: {
    namespace: { kind: "text", value: "NAMESPACE", short: "n", about: "show only Services of this namespace" },
    noEndpoints: { kind: "flag", about: "do not list endpoints" },
    metricsAddress: METRICS_ADDRESS,
    timeout: { ...TIMEOUT, about: "the time to wait for weftd's answer", default: PAGE_LIMIT_MS },
  },
  examples: [
    { line: "services", about: "show all Services" },
    { line: "services kube-system/kube-dns", about: "show one Service" },
    { line: "services -n default --no-endpoints", about: "show the frontends of a namespace" },
    { line: "services -o json", about: "print JSON" },
  ],
  printsData: true,
  run({ system, arguments: { service }, options, progress }) {
    const wanted = wantedOf(service, options.namespace);
    progress("querying weftd");
    const answer = askServices(system, options.metricsAddress, options.timeout, queryOf(wanted));
    progress("reading the kernel's table");
    const isNamed = answer.is === "answered";
    const [held, counts] = isNamed ? [undefined, readHeldCounts(system)] : [readHeldFrontends(system), undefined];
    if (!isNamed && held === undefined) {
      const why = answer.is === "silent" ? `weftd does not answer (${answer.reason})` : NOT_OURS;
      return { status: ExitStatus.done, blocks: [text(`${why}, and there is no table ${TABLE}`)], data: NOTHING };
    }
    const seen = isNamed ? countedServices(answer.page.services, counts ?? []) : heldServices(held ?? []);
    if (isNamed && wanted.service !== undefined && seen.length === 0)
      throw new CommandError(`weftd has no Service ${wanted.service}`, {
        remedy:
          "weft services lists all Services. Headless Services, and Services of another proxy, have no frontends.",
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
const NOT_OURS = "weftd has --service-proxy none, so another program serves Services";
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
        `weftd does not answer (${answer.reason}). This is the content of the kernel's table ${TABLE}, which is not being updated.`,
      ),
    ];
  if (answer.is === "not ours")
    return [
      warning(
        `${NOT_OURS}. The table ${TABLE} is left over: once kube-proxy runs here, remove it with weft cleanup --services.`,
      ),
    ];
  const { state, node } = answer.page;
  const { mode, isOurs, isSynced, warnings, counts, lastSync } = state;
  const rows: [string, Cell][] = [
    ["services", `${counts.services}, with ${counts.frontends} frontends and ${counts.endpoints} endpoints`],
    [
      "state",
      !isOurs
        ? { text: "waiting: another program serves Services", tone: "warning" }
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

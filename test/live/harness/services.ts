/** Services and EndpointSlices of a live cluster, and what a node's kernel does for them. */
import type { Cluster, Machine } from "./cluster.ts";

/** One endpoint of an EndpointSlice. */
export interface EndpointInput {
  readonly address: string;
  readonly node?: string;
  readonly conditions?: object;
}

export interface SliceInput {
  /** Default: TCP. */
  readonly protocol?: string;
  /** Default: the family of the first address. */
  readonly family?: "IPv4" | "IPv6";
  readonly annotations?: Readonly<Record<string, string>>;
}

const NAMESPACE = "default";
const SERVICES = `/api/v1/namespaces/${NAMESPACE}/services`;
const SLICES = `/apis/discovery.k8s.io/v1/namespaces/${NAMESPACE}/endpointslices`;

export class ServiceObjects {
  readonly #cluster: Pick<Cluster, "api">;

  constructor(cluster: Pick<Cluster, "api">) {
    this.#cluster = cluster;
  }

  /** Creates a Service with one port, 80, named http. `spec` adds fields or replaces these. */
  async create(name: string, spec: object = {}): Promise<void> {
    await this.#cluster.api("POST", SERVICES, {
      ...{ apiVersion: "v1", kind: "Service", metadata: { name, namespace: NAMESPACE } },
      spec: { ports: [{ name: "http", protocol: "TCP", port: 80 }], ...spec },
    });
  }

  async change(name: string, patch: object): Promise<void> {
    await this.#cluster.api("PATCH", `${SERVICES}/${name}`, patch);
  }

  async remove(name: string): Promise<void> {
    await this.#cluster.api("DELETE", `${SERVICES}/${name}`);
  }

  /** Creates an EndpointSlice of the Service, `NAME-FAMILY`, whose port http is `port`. */
  async createSlice(
    name: string,
    port: number,
    endpoints: readonly EndpointInput[],
    { protocol = "TCP", family = familyOf(endpoints), annotations = {} }: SliceInput = {},
  ): Promise<void> {
    await this.#cluster.api("POST", SLICES, {
      ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: family },
      metadata: {
        ...{ name: sliceName(name, family), namespace: NAMESPACE, annotations },
        labels: { "kubernetes.io/service-name": name },
      },
      ports: [{ name: "http", protocol, port }],
      endpoints: endpoints.map(endpointOf),
    });
  }

  /** Replaces the endpoints of the slice of the first address's family. */
  async changeSlice(
    name: string,
    endpoints: readonly EndpointInput[],
    family = familyOf(endpoints),
    port?: number,
  ): Promise<void> {
    await this.#cluster.api("PATCH", `${SLICES}/${sliceName(name, family)}`, {
      endpoints: endpoints.map(endpointOf),
      ...(port !== undefined && { ports: [{ name: "http", protocol: "TCP", port }] }),
    });
  }

  async removeSlice(name: string, family: "IPv4" | "IPv6" = "IPv4"): Promise<void> {
    await this.#cluster.api("DELETE", `${SLICES}/${sliceName(name, family)}`);
  }
}

function sliceName(service: string, family: "IPv4" | "IPv6"): string {
  return `${service}-${family.toLowerCase()}`;
}

function familyOf([first]: readonly EndpointInput[]): "IPv4" | "IPv6" {
  return first?.address.includes(":") === true ? "IPv6" : "IPv4";
}

function endpointOf({ address, node, conditions = { ready: true } }: EndpointInput): object {
  return { addresses: [address], conditions, ...(node !== undefined && { nodeName: node }) };
}

/** The fields of an object of `nft -j`. */
type NftFields = { readonly [field: string]: unknown };
/** One object of `nft -j`, by its kind. */
type NftObject = Readonly<Record<string, NftFields | undefined>>;

/**
 * The node's table of Services as nft shows it, in canonical form: without handles, counters, and elements that packets
 * added. Rules keep the order of their chain; the order of other objects has no meaning. Undefined if there is no such
 * table.
 */
export async function servicesTable({ inside }: Pick<Machine, "inside">): Promise<string[] | undefined> {
  const { status, stdout } = await inside.run("nft", ["-s", "-j", "-n", "list", "table", "inet", "weft-services"]);
  if (status !== 0) return undefined;
  const { nftables } = JSON.parse(stdout) as { nftables: NftObject[] };
  const rules = new Map<string, string[]>();
  const others: string[] = [];
  for (const object of nftables) {
    const [kind = "", content = {}] = Object.entries(object)[0] ?? [];
    const { handle: _handle, elem, ...rest } = content;
    if (kind === "metainfo") continue;
    const chain = String(rest.chain);
    if (kind === "rule") rules.set(chain, [...(rules.get(chain) ?? []), JSON.stringify(rest)]);
    else others.push(`${kind} ${JSON.stringify(rest)} ${isDynamic(rest) ? "" : elementsText(elem)}`);
  }
  return [...others, ...[...rules].map(([chain, ofChain]) => `rules of ${chain}: ${ofChain.join(" ")}`)].sort();
}

/** True if packets add elements, or if elements expire. */
function isDynamic({ flags = [] }: NftFields): boolean {
  return [flags].flat().some((flag) => flag === "dynamic" || flag === "timeout");
}

/** A map by number holds endpoints in any order. Compares the set of numbers and the set of endpoints. */
function elementsText(elements: unknown): string {
  if (!Array.isArray(elements)) return "";
  const texts = elements.flatMap((one: unknown) => {
    if (!isNumbered(one)) return [JSON.stringify(one)];
    const [{ concat }, endpoint] = one;
    return [JSON.stringify(concat), JSON.stringify([concat.slice(0, -1), endpoint])];
  });
  return texts.sort().join(" ");
}

/** `[{ concat: [address, protocol, port, number] }, endpoint]` */
function isNumbered(element: unknown): element is [{ concat: unknown[] }, unknown] {
  const [key] = Array.isArray(element) ? (element as [{ concat?: unknown }]) : [];
  return Array.isArray(key?.concat) && key.concat.length === 4 && typeof key.concat[3] === "number";
}

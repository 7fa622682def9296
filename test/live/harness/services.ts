/** Services and EndpointSlices of a live cluster, and what a node's kernel does for them. */
import type { Cluster, Machine } from "./cluster.ts";

/** What an EndpointSlice says of one endpoint. */
export interface EndpointInput {
  readonly address: string;
  readonly node?: string;
  readonly conditions?: object;
}

export interface SliceInput {
  /** [TCP] */
  readonly protocol?: string;
  /** [that of the first address] */
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

  /** A Service with one port, 80, called http; `spec` says more, or something else. */
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

  /** An EndpointSlice of the Service, `NAME-FAMILY`, whose port http is `port`. */
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

  /** Gives the slice of the first address's family other endpoints. */
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

/** One object of `nft -j`: its kind, and what it says. */
type NftObject = Readonly<Record<string, { readonly [field: string]: unknown } | undefined>>;

/**
 * The node's table of Services, by nft: what it holds in one canonical form, without handles, and without elements that a
 * packet has added. Undefined where there is no such table.
 */
export async function servicesTable({ inside }: Pick<Machine, "inside">): Promise<string[] | undefined> {
  const { status, stdout } = await inside.run("nft", ["-j", "-n", "list", "table", "inet", "weft-services"]);
  if (status !== 0) return undefined;
  const { nftables } = JSON.parse(stdout) as { nftables: NftObject[] };
  return nftables
    .filter(({ metainfo }) => metainfo === undefined)
    .map((object) => {
      const [kind = "", content = {}] = Object.entries(object)[0] ?? [];
      const { handle: _handle, elem, ...rest } = content;
      const isDynamic = Array.isArray(rest.flags) && rest.flags.includes("dynamic");
      const elements = Array.isArray(elem) && !isDynamic ? elem.map((one) => JSON.stringify(one)).sort() : [];
      return `${kind} ${JSON.stringify(rest)} ${elements.join(" ")}`;
    });
}

/** The connections of the end-to-end test, and the expected answers. Pure. */

export interface Node {
  readonly name: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
}

export interface Pod {
  readonly name: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly hostPort: number | undefined;
}

export interface Service {
  readonly name: string;
  readonly addresses: readonly string[];
}

/** The objects of the cluster, as kubectl prints them. */
export interface Bed {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly service: Service;
}

export interface Question {
  /** The name of a pod or of a node. */
  readonly asker: string;
  readonly from: "pod" | "node";
  readonly what: "pod to pod" | "node to pod" | "host port" | "Service" | "name";
  readonly url: string;
  /** The pods that may answer. */
  readonly pods: readonly string[];
  /** The client address that the pod must see; undefined if any is correct. */
  readonly seenAs?: string;
}

/** The answer of test/kind/pods/serve.mjs, or the error. */
export interface Answer {
  readonly pod?: string;
  readonly client?: string;
  readonly error?: string;
}

const PORT = 8080;

export function questionsOf({ nodes, pods, service }: Bed): Question[] {
  const everyPod = pods.map(({ name }) => name);
  const fromPods = pods.flatMap((asker): Question[] => {
    const common = { asker: asker.name, from: "pod" as const };
    const others = pods.filter(({ name }) => name !== asker.name);
    return [
      ...others.flatMap(({ name, addresses }) =>
        addresses.map((address) => ({
          ...{ ...common, what: "pod to pod" as const, url: urlOf(address, PORT), pods: [name] },
          // Without NAT, the server sees the pod's own address of the connection's family.
          seenAs: asker.addresses.find((own) => isIpv6(own) === isIpv6(address)) ?? "",
        })),
      ),
      ...service.addresses.map((address) => ({
        ...{ ...common, what: "Service" as const, url: urlOf(address, 80), pods: everyPod },
      })),
      { ...common, what: "name", url: urlOf(service.name, 80), pods: everyPod },
      ...hostPorts({ nodes, pods }, common),
    ];
  });
  const fromNodes = nodes.flatMap(({ name: asker }): Question[] => {
    const common = { asker, from: "node" as const };
    return [
      ...pods.flatMap(({ name, addresses }) =>
        addresses.map((address) => ({
          ...{ ...common, what: "node to pod" as const, url: urlOf(address, PORT), pods: [name] },
        })),
      ),
      ...hostPorts({ nodes, pods }, common),
    ];
  });
  return [...fromPods, ...fromNodes];
}

/** Each node's addresses lead to the pod on it that has a host port. */
function hostPorts({ nodes, pods }: Pick<Bed, "nodes" | "pods">, common: Pick<Question, "asker" | "from">): Question[] {
  return pods.flatMap(({ name, node: host, hostPort, addresses: ofPod }) => {
    if (hostPort === undefined) return [];
    const addresses = nodes.find((node) => node.name === host)?.addresses ?? [];
    return addresses
      .filter((address) => ofPod.some((own) => isIpv6(own) === isIpv6(address)))
      .map((address) => ({ ...common, what: "host port", url: urlOf(address, hostPort), pods: [name] }));
  });
}

function isIpv6(address: string): boolean {
  return address.includes(":");
}

function urlOf(host: string, port: number): string {
  return `http://${isIpv6(host) ? `[${host}]` : host}:${port}/`;
}

/** The fault of an answer, as text; undefined if it is correct. */
export function complaintOf(
  { asker, what, url, pods, seenAs }: Question,
  { pod, client, error }: Answer,
): string | undefined {
  const who = `${what}: ${asker} asks ${url}`;
  if (error !== undefined || pod === undefined) return `${who}: ${error ?? "no answer"}`;
  if (!pods.includes(pod)) return `${who}: ${pod} answers, expected ${pods.join(" or ")}`;
  if (seenAs !== undefined && client !== seenAs) return `${who}: is seen as ${client}, expected ${seenAs}`;
  return undefined;
}

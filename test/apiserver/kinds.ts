/**
 * The served kinds of objects, and how a server completes each before it stores one: the fields that it fills in, those
 * that Go's encoder always writes, and those usable in field selectors. Like kube-apiserver 1.36 as far as weft's
 * clients can see; fields that only kubelets, schedulers and volumes read are omitted.
 */
import { isObject, type Json, type JsonObject, type KubeObject, type NodeObject } from "./resource.ts";
import { completeService } from "./service.ts";

export interface Kind<Stored extends KubeObject = KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly isNamespaced: boolean;
  /** It has a subresource `status`: writes to the object itself do not change the status. */
  readonly hasStatus: boolean;
  /** Stores the status of a new object. Only kubelets write one, for their Nodes. */
  readonly isCreatedWithStatus?: boolean;
  /** metadata.generation counts all changes except those of metadata and status. */
  readonly hasGeneration?: boolean;
  /** A deletion returns the object instead of a Status. */
  readonly returnsDeleted?: boolean;
  /**
   * Fields usable in field selectors in addition to metadata.name and metadata.namespace, with the value for an absent
   * field.
   */
  readonly selectableFields: { readonly [path: string]: string };
  /** The fields written for an object without content, in addition to its metadata. */
  readonly zero: JsonObject;
  /** Fills in the server's fields. `others`: the stored objects of the kind. Pure. */
  complete(object: KubeObject, others: () => readonly KubeObject[]): Stored;
}

/** The fields that Go's encoder always writes, because they are structs and not pointers. */
const ZERO_NODE_STATUS = {
  daemonEndpoints: { kubeletEndpoint: { Port: 0 } },
  nodeInfo: {
    machineID: "",
    systemUUID: "",
    bootID: "",
    kernelVersion: "",
    osImage: "",
    containerRuntimeVersion: "",
    kubeletVersion: "",
    kubeProxyVersion: "",
    operatingSystem: "",
    architecture: "",
  },
} as const;

export const NODES: Kind<NodeObject> = {
  ...{ group: "", version: "v1", plural: "nodes", kind: "Node", isNamespaced: false, hasStatus: true },
  isCreatedWithStatus: true,
  selectableFields: { "spec.unschedulable": "false" },
  zero: { spec: {}, status: ZERO_NODE_STATUS },
  complete: (object) => {
    const spec = { ...partOf(object, "spec") };
    if (typeof spec.podCIDR === "string" && spec.podCIDRs === undefined) spec.podCIDRs = [spec.podCIDR];
    const first = Array.isArray(spec.podCIDRs) ? spec.podCIDRs[0] : undefined;
    if (spec.podCIDR === undefined && first !== undefined) spec.podCIDR = first;
    return { ...object, spec, status: { ...ZERO_NODE_STATUS, ...partOf(object, "status") } };
  },
};

export const NAMESPACES: Kind = {
  ...{ group: "", version: "v1", plural: "namespaces", kind: "Namespace", isNamespaced: false, hasStatus: true },
  returnsDeleted: true,
  selectableFields: { "status.phase": "" },
  zero: { spec: {}, status: {} },
  complete: (object) => {
    const { metadata } = object;
    // The server sets this label, for namespace selectors by name.
    const labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
    return {
      ...object,
      metadata: { ...metadata, labels },
      spec: { finalizers: ["kubernetes"], ...partOf(object, "spec") },
      status: { phase: "Active", ...partOf(object, "status") },
    };
  },
};

export const PODS: Kind = {
  ...{ group: "", version: "v1", plural: "pods", kind: "Pod", isNamespaced: true, hasStatus: true },
  hasGeneration: true,
  returnsDeleted: true,
  selectableFields: {
    "spec.nodeName": "",
    "spec.restartPolicy": "",
    "spec.schedulerName": "",
    "spec.serviceAccountName": "",
    "spec.hostNetwork": "false",
    "status.phase": "",
    "status.podIP": "",
    "status.nominatedNodeName": "",
  },
  zero: { spec: { containers: null }, status: {} },
  complete: (object) => {
    const status = { phase: "Pending", ...partOf(object, "status") } as JsonObject;
    // Clients write either field and read both.
    const [first] = objectsOf(status.podIPs);
    if (first !== undefined) status.podIP = first.ip;
    else if (typeof status.podIP === "string") status.podIPs = [{ ip: status.podIP }];
    const spec = { containers: [], restartPolicy: "Always", schedulerName: "default-scheduler" };
    return { ...object, spec: { ...spec, ...partOf(object, "spec") }, status };
  },
};

export const SERVICES: Kind = {
  ...{ group: "", version: "v1", plural: "services", kind: "Service", isNamespaced: true, hasStatus: true },
  returnsDeleted: true,
  selectableFields: { "spec.clusterIP": "", "spec.type": "" },
  zero: { spec: {}, status: { loadBalancer: {} } },
  complete: completeService,
};

export const ENDPOINT_SLICES: Kind = {
  ...{ group: "discovery.k8s.io", version: "v1", plural: "endpointslices", kind: "EndpointSlice" },
  ...{ isNamespaced: true, hasStatus: false, hasGeneration: true },
  selectableFields: {},
  zero: { addressType: "", endpoints: null, ports: null },
  complete: (object) => ({
    ...object,
    endpoints: list(object.endpoints)?.map((item) => (isObject(item) ? { conditions: {}, ...item } : item)) ?? null,
    ports: list(object.ports)?.map((item) => (isObject(item) ? { name: "", protocol: "TCP", ...item } : item)) ?? null,
  }),
};

export const NETWORK_POLICIES: Kind = {
  ...{ group: "networking.k8s.io", version: "v1", plural: "networkpolicies", kind: "NetworkPolicy" },
  ...{ isNamespaced: true, hasStatus: false, hasGeneration: true },
  selectableFields: {},
  zero: { spec: { podSelector: {} } },
  complete: (object) => {
    const spec = { podSelector: {}, ...partOf(object, "spec") } as JsonObject;
    for (const direction of ["ingress", "egress"]) {
      const rules = list(spec[direction]);
      if (rules !== undefined) spec[direction] = rules.map(withPortProtocols);
    }
    spec.policyTypes ??= spec.egress === undefined ? ["Ingress"] : ["Ingress", "Egress"];
    return { ...object, spec };
  },
};

export const SERVICE_CIDRS: Kind = {
  ...{ group: "networking.k8s.io", version: "v1", plural: "servicecidrs", kind: "ServiceCIDR" },
  ...{ isNamespaced: false, hasStatus: true },
  selectableFields: {},
  zero: { spec: {}, status: {} },
  complete: (object) => ({ spec: {}, status: {}, ...object }),
};

/** Kinds that a server serves without CRDs, in addition to Nodes. */
export const BUILT_IN: readonly Kind[] = [NAMESPACES, PODS, SERVICES, ENDPOINT_SLICES, NETWORK_POLICIES, SERVICE_CIDRS];

/** A kind as a CustomResourceDefinition without defaults makes it. */
export function customKind(names: Pick<Kind, "group" | "version" | "plural" | "kind" | "isNamespaced">): Kind {
  const hasStatus = false;
  return { ...names, hasStatus, hasGeneration: true, selectableFields: {}, zero: {}, complete: (object) => object };
}

/** Served only where its CustomResourceDefinition is installed. */
export const CLUSTER_NETWORK_POLICIES: Kind = customKind({
  ...{ group: "policy.networking.k8s.io", version: "v1alpha2", plural: "clusternetworkpolicies" },
  ...{ kind: "ClusterNetworkPolicy", isNamespaced: false },
});

/** "v1", "discovery.k8s.io/v1". */
export function apiVersionOf({ group, version }: Pick<Kind, "group" | "version">): string {
  return group === "" ? version : `${group}/${version}`;
}

/** "services", "endpointslices.discovery.k8s.io". */
export function qualifiedName({ group, plural }: Pick<Kind, "group" | "plural">): string {
  return group === "" ? plural : `${plural}.${group}`;
}

function withPortProtocols(rule: Json): Json {
  if (!isObject(rule)) return rule;
  const ports = list(rule.ports)?.map((item) => (isObject(item) ? { protocol: "TCP", ...item } : item));
  return ports === undefined ? rule : { ...rule, ports };
}

function partOf(object: KubeObject, key: string): JsonObject {
  const part = object[key];
  return isObject(part) ? part : {};
}

function list(value: Json | undefined): Json[] | undefined {
  return Array.isArray(value) ? value : undefined;
}

function objectsOf(value: Json | undefined): JsonObject[] {
  return (list(value) ?? []).filter(isObject);
}

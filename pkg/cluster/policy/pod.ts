/** The parts of a Pod that weftd keeps for NetworkPolicy, and their parser. */
import type { Address } from "../../ip/address.ts";
import type { ResourceParser } from "../parser.ts";
import { addressesOf, flatMapCompact, intern, listOf, objectOf, portOf, protocolOf, textOf } from "../service/field.ts";
import type { Protocol } from "../service/service.ts";
import { type Labels, NO_LABELS, readLabels } from "./labels.ts";

export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** The hash of a static pod's configuration, which kubelet passes to ADD instead of the UID. Empty for other pods. */
  readonly configHash: string;
  readonly labels: Labels;
  /** Empty until the pod is scheduled. */
  readonly nodeName: string;
  /** `status.podIPs` of a pod that has not ended. Empty for hostNetwork pods: their addresses are the node's. */
  readonly addresses: readonly Address[];
  /** Neither a subject nor a peer of policies: its traffic is the node's. */
  readonly isHostNetwork: boolean;
  /** `status.startTime` in seconds since 1970: when kubelet accepted the pod. 0 before that. */
  readonly startSeconds: number;
  /** Phase Succeeded or Failed: its addresses may belong to another pod by now. */
  readonly hasEnded: boolean;
  /** Ports that have a name, of containers and sidecar containers, in the order of the pod's specification. */
  readonly namedPorts: readonly NamedPort[];
}

export interface NamedPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

/** kubelet sets it on the mirror pods of static pods. */
const CONFIG_HASH_ANNOTATION = "kubernetes.io/config.hash";

export const POD_PARSER: ResourceParser<Pod> = {
  resource: { group: "", version: "v1", plural: "pods", kind: "Pod", isNamespaced: true },
  parse({ metadata, spec: anySpec, status: anyStatus }) {
    const [spec, status] = [objectOf(anySpec), objectOf(anyStatus)];
    const isHostNetwork = spec.hostNetwork === true;
    const hasEnded = status.phase === "Succeeded" || status.phase === "Failed";
    return {
      namespace: intern(metadata.namespace ?? ""),
      name: metadata.name,
      uid: metadata.uid ?? "",
      configHash: textOf(metadata.annotations?.[CONFIG_HASH_ANNOTATION]) ?? "",
      labels: metadata.labels === undefined ? NO_LABELS : readLabels(metadata.labels),
      nodeName: intern(textOf(spec.nodeName) ?? ""),
      addresses: isHostNetwork || hasEnded ? [] : readAddresses(status),
      isHostNetwork,
      hasEnded,
      startSeconds: secondsOf(status.startTime),
      namedPorts: readNamedPorts([...listOf(spec.containers), ...listOf(spec.initContainers).filter(isSidecar)]),
    };
  },
};

function secondsOf(time: unknown): number {
  const ms = Date.parse(textOf(time) ?? "");
  return Number.isNaN(ms) ? 0 : Math.floor(ms / 1000);
}

/** True for an init container that runs as long as the pod. */
const isSidecar = (container: unknown) => objectOf(container).restartPolicy === "Always";

/** `podIP` is the older, single field. A server fills in both. */
function readAddresses({ podIP, podIPs }: { readonly [field: string]: unknown }): readonly Address[] {
  const texts = listOf(podIPs).map((item) => objectOf(item).ip);
  return addressesOf(texts.length > 0 ? texts : [podIP].filter(Boolean), "status.podIPs", []);
}

function readNamedPorts(containers: readonly unknown[]): readonly NamedPort[] {
  return flatMapCompact(containers, (container) =>
    listOf(objectOf(container).ports).flatMap((item) => {
      const { name, protocol: text, containerPort } = objectOf(item);
      const protocol = protocolOf(text, "", []);
      const port = portOf(containerPort, "", []);
      if (typeof name !== "string" || name === "" || protocol === undefined || port === 0) return [];
      return [{ name: intern(name), protocol, port }];
    }),
  );
}

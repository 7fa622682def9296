/** The pod of weft's DaemonSet, as far as tests read it. */
import { find, type KubeObject } from "./objects.ts";

export interface Mount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
}

export interface Probe {
  readonly httpGet: { readonly host: string; readonly path: string; readonly port: number };
}

export interface SecurityContext {
  readonly runAsUser: number;
  readonly runAsGroup: number;
  readonly privileged: boolean;
  readonly allowPrivilegeEscalation: boolean;
  readonly readOnlyRootFilesystem: boolean;
  readonly capabilities: { readonly drop: readonly string[]; readonly add?: readonly string[] };
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command: readonly string[];
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string; readonly valueFrom?: unknown }[];
  readonly securityContext: SecurityContext;
  readonly volumeMounts: readonly Mount[];
  readonly startupProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly readinessProbe?: Probe;
}

export interface Volume {
  readonly name: string;
  readonly hostPath?: { readonly path: string; readonly type: string };
  readonly configMap?: { readonly name: string };
  readonly projected?: unknown;
}

export interface Pod {
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly Volume[];
  readonly automountServiceAccountToken: boolean;
  readonly tolerations: readonly unknown[];
  readonly nodeSelector: Readonly<Record<string, string>>;
  readonly priorityClassName: string;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
}

export function podOf(objects: readonly KubeObject[]): Pod {
  const { spec } = find(objects, "DaemonSet", "weftd") as unknown as { spec: { template: { spec: Pod } } };
  return spec.template.spec;
}

/** An init container, or one of the others. `args` is empty if none are given. */
export function containerOf({ initContainers, containers }: Pod, name: string): Container {
  const found = [...initContainers, ...containers].find((container) => container.name === name);
  if (found === undefined) throw new Error(`the pod has no container ${name}`);
  return { ...found, args: found.args ?? [] };
}

/** Nodes as kubectl prints them: the Table form (meta.k8s.io/v1), whose columns the server chooses. */
import { isObject, type Json, type JsonObject, type NodeObject } from "./resource.ts";

interface Column {
  readonly name: string;
  readonly format?: string;
  /** 1: shown by `-o wide` only. */
  readonly priority: 0 | 1;
  readonly cell: (node: NodeObject, nowMs: number) => string;
}

const COLUMNS: readonly Column[] = [
  { name: "Name", format: "name", priority: 0, cell: ({ metadata }) => metadata.name },
  { name: "Status", priority: 0, cell: statusOf },
  { name: "Roles", priority: 0, cell: rolesOf },
  { name: "Age", priority: 0, cell: ageOf },
  { name: "Version", priority: 0, cell: (node) => infoOf(node, "kubeletVersion") },
  { name: "Internal-IP", priority: 1, cell: (node) => addressOf(node, "InternalIP") },
  { name: "External-IP", priority: 1, cell: (node) => addressOf(node, "ExternalIP") },
  { name: "OS-Image", priority: 1, cell: (node) => infoOf(node, "osImage") || "<unknown>" },
  { name: "Kernel-Version", priority: 1, cell: (node) => infoOf(node, "kernelVersion") || "<unknown>" },
  { name: "Container-Runtime", priority: 1, cell: (node) => infoOf(node, "containerRuntimeVersion") || "<unknown>" },
];

/** `metadata` is the list's own, or the substitute for a single Node. */
export function presentTable(nodes: readonly NodeObject[], metadata: JsonObject, nowMs: number): JsonObject {
  return {
    kind: "Table",
    apiVersion: "meta.k8s.io/v1",
    metadata,
    columnDefinitions: COLUMNS.map(({ name, format = "", priority }) => {
      return { name, type: "string", format, description: name, priority };
    }),
    rows: nodes.map((node) => ({
      cells: COLUMNS.map(({ cell }) => cell(node, nowMs)),
      object: { kind: "PartialObjectMetadata", apiVersion: "meta.k8s.io/v1", metadata: node.metadata },
    })),
  };
}

function objects(list: Json | undefined): readonly JsonObject[] {
  return Array.isArray(list) ? list.filter(isObject) : [];
}

function statusOf({ spec, status }: NodeObject): string {
  const ready = objects(status.conditions).find(({ type }) => type === "Ready");
  const base = ready === undefined ? "Unknown" : ready.status === "True" ? "Ready" : "NotReady";
  return spec.unschedulable === true ? `${base},SchedulingDisabled` : base;
}

function rolesOf({ metadata }: NodeObject): string {
  const prefix = "node-role.kubernetes.io/";
  const roles = Object.keys(metadata.labels ?? {}).filter((key) => key.startsWith(prefix) && key !== prefix);
  return roles.map((key) => key.slice(prefix.length)).join(",") || "<none>";
}

/** Two units if the first is small, as in kubectl. */
function ageOf({ metadata }: NodeObject, nowMs: number): string {
  const createdMs = Date.parse(metadata.creationTimestamp ?? "");
  if (Number.isNaN(createdMs)) return "<unknown>";
  const seconds = Math.max(0, Math.floor((nowMs - createdMs) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return both(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return both(hours, "h", minutes % 60, "m");
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  return days < 8 ? both(days, "d", hours % 24, "h") : `${days}d`;
}

function both(first: number, unit: string, second: number, secondUnit: string): string {
  return second === 0 ? `${first}${unit}` : `${first}${unit}${second}${secondUnit}`;
}

function addressOf({ status }: NodeObject, wanted: string): string {
  const found = objects(status.addresses).find(({ type }) => type === wanted);
  return typeof found?.address === "string" ? found.address : "<none>";
}

function infoOf({ status }: NodeObject, key: string): string {
  const value = isObject(status.nodeInfo) ? status.nodeInfo[key] : undefined;
  return typeof value === "string" ? value : "";
}

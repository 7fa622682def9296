/** Kubernetes objects as written in YAML. */
import { parseAllDocuments } from "yaml";

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly [key: string]: unknown;
}

/** All documents of `text`, without empty ones. Throws if one is not YAML, or not an object. */
export function parseObjects(text: string): readonly KubeObject[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    const value: unknown = document.toJS();
    return value === null ? [] : [value as KubeObject];
  });
}

export function nameOf({ kind, metadata }: KubeObject): string {
  return [kind, metadata.namespace, metadata.name].filter((part) => part !== undefined).join("/");
}

/** The objects by name: two lists of objects are equal if and only if these are. Throws if two have the same name. */
export function byName(objects: readonly KubeObject[]): Readonly<Record<string, KubeObject>> {
  const entries = objects.map((object) => [nameOf(object), object] as const);
  const names = new Set(entries.map(([name]) => name));
  if (names.size !== entries.length) throw new Error(`a name occurs twice: ${entries.map(([name]) => name)}`);
  return Object.fromEntries(entries.sort(([a], [b]) => a.localeCompare(b)));
}

export function find(objects: readonly KubeObject[], kind: string, name: string): KubeObject {
  const found = objects.find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name} among ${objects.map(nameOf).join(", ")}`);
  return found;
}

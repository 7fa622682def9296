/**
 * Validates objects with Kubernetes' own schemas, like an API server with strict field validation: `kubernetes-models`
 * has the required fields and types, and ignores unknown keys; the client library's tables have every key.
 */
import * as client from "@kubernetes/client-node";
import type { KubeObject } from "./objects.ts";

interface Attribute {
  readonly baseName: string;
  readonly type: string;
}
interface ModelClass {
  getAttributeTypeMap(): readonly Attribute[];
}
type ModelOf = new (data: unknown) => { validate(): void };

/** The errors of `object`, as text; empty if an API server would accept it. */
export async function problemsOf(object: KubeObject): Promise<readonly string[]> {
  return [...unknownKeys(object, `V1${object.kind}`, object.kind), ...(await mismatches(object))];
}

async function mismatches(object: KubeObject): Promise<string[]> {
  // Loads only one version's models, by a name that is known only from the object.
  const path = `kubernetes-models/${object.apiVersion}`;
  const models = (await import(/* @vite-ignore */ path)) as Record<string, ModelOf | undefined>;
  const Model = models[object.kind];
  if (Model === undefined) return [`${object.apiVersion} has no ${object.kind}`];
  try {
    new Model(object).validate();
    return [];
  } catch (error) {
    return [(error as Error).message];
  }
}

/**
 * `type` is in the format of the client's tables: a class, `Array<...>`, `{ [key: string]: ...; }`, or a type without
 * nested keys.
 */
function unknownKeys(value: unknown, type: string, path: string): string[] {
  const element = /^Array<(.+)>$/.exec(type)?.[1];
  if (element !== undefined && Array.isArray(value))
    return value.flatMap((item, index) => unknownKeys(item, element, `${path}[${index}]`));
  const entry = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1];
  if (entry !== undefined && isObject(value))
    return Object.entries(value).flatMap(([key, item]) => unknownKeys(item, entry, `${path}.${key}`));
  const model = (client as unknown as Record<string, ModelClass | undefined>)[type];
  if (model === undefined || typeof model.getAttributeTypeMap !== "function") return [];
  if (!isObject(value)) return [`${path}: expected an object (${type})`];
  const attributes = new Map(model.getAttributeTypeMap().map(({ baseName, type: own }) => [baseName, own]));
  return Object.entries(value).flatMap(([key, item]) => {
    const own = attributes.get(key);
    return own === undefined ? [`${path}.${key}: ${type} has no such key`] : unknownKeys(item, own, `${path}.${key}`);
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

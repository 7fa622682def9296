/**
 * Objects against Kubernetes' own schemas, as an API server does with strict field validation: `kubernetes-models` knows
 * what is required and of which type, and passes unknown keys over; the client library's tables know every key.
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

/** What is wrong with `object`, in words; empty where an API server would take it. */
export async function problemsOf(object: KubeObject): Promise<readonly string[]> {
  return [...unknownKeys(object, `V1${object.kind}`, object.kind), ...(await mismatches(object))];
}

async function mismatches(object: KubeObject): Promise<string[]> {
  // One version's models alone, by a name that only the object knows.
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

/** `type` is as in the client's tables: a class, `Array<...>`, `{ [key: string]: ...; }`, or what needs no look inside. */
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

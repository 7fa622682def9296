/** The objects of a list or a watch: a namespace, and selectors of labels and fields in their grammars. */
import type { Kind } from "./kinds.ts";
import { isObject, type Json, type KubeObject } from "./resource.ts";
import { badRequest } from "./status.ts";

export interface Scope {
  /** undefined: all namespaces. */
  readonly namespace?: string | undefined;
  /** True if it has a selector. A real server does not count the remaining objects of such a list. */
  readonly isSelective: boolean;
  selects(object: KubeObject): boolean;
}

export const EVERYTHING: Scope = { isSelective: false, selects: () => true };

type Test = (value: string | undefined) => boolean;

interface Requirement {
  readonly key: string;
  readonly test: Test;
}

/** Throws 400 for invalid selectors, and for fields that `kind` does not support. */
export function parseScope(kind: Kind, namespace: string | undefined, query: URLSearchParams): Scope {
  const labels = parseLabelSelector(query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(kind, query.get("fieldSelector") ?? "");
  return {
    namespace,
    isSelective: labels.length > 0 || fields.length > 0,
    selects: (object) =>
      (namespace === undefined || object.metadata.namespace === namespace) &&
      labels.every(({ key, test }) => test(object.metadata.labels?.[key])) &&
      fields.every(({ key, test }) => test(fieldOf(kind, object, key))),
  };
}

const KEY = "[A-Za-z0-9](?:[-A-Za-z0-9_./]*[A-Za-z0-9])?";
const VALUE = "(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?";
const ABSENT = new RegExp(`^!\\s*(${KEY})$`);
const EXISTS = new RegExp(`^(${KEY})$`);
const EQUALS = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*(${VALUE})$`);
const ONE_OF = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const NUMBER = new RegExp(`^(${KEY})\\s*([<>])\\s*(-?\\d+)$`);

/** "a", "!a", "a=b", "a==b", "a!=b", "a in (b, c)", "a notin (b, c)", "a > 1", separated by commas. Throws 400. */
export function parseLabelSelector(text: string): Requirement[] {
  return splitOutsideParentheses(text).map((term) => parseLabelRequirement(term.trim(), text));
}

function parseLabelRequirement(term: string, selector: string): Requirement {
  const [, absent] = ABSENT.exec(term) ?? [];
  if (absent !== undefined) return { key: absent, test: (value) => value === undefined };
  const [, exists] = EXISTS.exec(term) ?? [];
  if (exists !== undefined) return { key: exists, test: (value) => value !== undefined };
  const [, key, operator, wanted] = EQUALS.exec(term) ?? [];
  // An absent label differs from every value.
  if (key !== undefined) return { key, test: (value) => (value === wanted) === (operator !== "!=") };
  const [, member, relation, list = ""] = ONE_OF.exec(term) ?? [];
  if (member !== undefined) {
    const values = list.split(",").map((value) => value.trim());
    return { key: member, test: (value) => (value !== undefined && values.includes(value)) === (relation === "in") };
  }
  const [, compared, sign, limit] = NUMBER.exec(term) ?? [];
  if (compared === undefined) throw badRequest(`unable to parse requirement: found '${term}' in '${selector}'`);
  const isBeyond = (number: number) => (sign === ">" ? number > Number(limit) : number < Number(limit));
  return { key: compared, test: (value) => /^-?\d+$/.test(value ?? "") && isBeyond(Number(value)) };
}

function splitOutsideParentheses(text: string): string[] {
  return text.trim() === "" ? [] : text.split(/,(?![^(]*\))/);
}

/** "spec.nodeName=n1,status.phase!=Failed". Throws 400. */
function parseFieldSelector(kind: Kind, text: string): Requirement[] {
  if (text.trim() === "") return [];
  return text.split(",").map((term) => {
    const [, key, operator, wanted] = /^\s*([^=!\s]+)\s*(==|=|!=)\s*(.*?)\s*$/.exec(term) ?? [];
    if (key === undefined) throw badRequest(`invalid field selector: "${term}"; can't understand "${text}"`);
    assertSelectable(kind, key);
    return { key, test: (value) => (value === wanted) === (operator !== "!=") };
  });
}

function assertSelectable({ selectableFields, isNamespaced }: Kind, key: string): void {
  if (key === "metadata.name" || (key === "metadata.namespace" && isNamespaced) || key in selectableFields) return;
  // A real server has two wordings: for kinds with and without selectable fields of their own.
  const isPlain = Object.keys(selectableFields).length === 0;
  const names = `only "metadata.name", "metadata.namespace"`;
  throw badRequest(isPlain ? `"${key}" is not a known field selector: ${names}` : `field label not supported: ${key}`);
}

function fieldOf({ selectableFields }: Kind, object: KubeObject, path: string): string {
  let value: Json | undefined = object;
  for (const part of path.split(".")) value = isObject(value) ? value[part] : undefined;
  return value === undefined || value === null ? (selectableFields[path] ?? "") : String(value);
}

/** Label selectors (meta/v1 LabelSelector): reading, matching, comparing. Pure. */
import { intern, type JsonObject, listOf, objectOf, textOf } from "../service/field.ts";
import type { Labels } from "./labels.ts";

/** All requirements must hold. Without any, the selector matches every object. */
export interface LabelSelector {
  readonly requirements: readonly Requirement[];
}

export interface Requirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  /** Sorted; empty for Exists and DoesNotExist. */
  readonly values: readonly string[];
}

export const MATCH_ALL: LabelSelector = { requirements: [] };

/** True if an object with these labels is selected. NotIn also matches objects without the key. */
export function matchesLabels({ requirements }: LabelSelector, labels: Labels): boolean {
  return requirements.every((requirement) => holds(requirement, labels));
}

function holds({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** The same text for selectors with the same requirements, in whatever order they are written. */
export function selectorKey({ requirements }: LabelSelector): string {
  return JSON.stringify(requirements.map(({ key, operator, values }) => [key, operator, ...values]).sort());
}

/**
 * Reads a selector. Returns undefined if a requirement cannot be read, and records it in `problems`: a selector that lacks one
 * of its requirements would match too much.
 */
export function readSelector(value: unknown, field: string, problems: string[]): LabelSelector | undefined {
  const { matchLabels, matchExpressions } = objectOf(value);
  const equal = Object.entries(objectOf(matchLabels)).map(([key, text]) =>
    requirementOf({ key, operator: "In", values: [text] }, `${field}.matchLabels`, problems),
  );
  const others = listOf(matchExpressions).map((expression, index) =>
    requirementOf(objectOf(expression), `${field}.matchExpressions[${index}]`, problems),
  );
  const requirements = [...equal, ...others];
  if (requirements.includes(undefined)) return undefined;
  return requirements.length === 0 ? MATCH_ALL : { requirements: requirements as Requirement[] };
}

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

function requirementOf(expression: JsonObject, field: string, problems: string[]): Requirement | undefined {
  const key = textOf(expression.key);
  const operator = OPERATORS.find((one) => one === expression.operator);
  const values = listOf(expression.values);
  const needsValues = operator === "In" || operator === "NotIn";
  const isComplete = key !== undefined && key !== "" && operator !== undefined;
  if (!isComplete || needsValues !== values.length > 0 || values.some((one) => typeof one !== "string")) {
    problems.push(
      `${field}: ${JSON.stringify(expression)} is not a requirement of labels: the selector matches nothing`,
    );
    return undefined;
  }
  return { key: intern(key), operator, values: [...new Set(values as string[])].sort().map(intern) };
}

/**
 * What an API server does with a ValidatingAdmissionPolicy (KEP-3488), by an implementation of CEL in JavaScript: conditions
 * first, then each validation, with the variables that it names; what cannot be evaluated is refused (failurePolicy Fail).
 * Objects and request are dynamic values, as they are there.
 */
import { Environment } from "@marcbachmann/cel-js";
import type { KubeObject } from "./objects.ts";

export interface AdmissionRequest {
  readonly operation: "CREATE" | "UPDATE";
  readonly userInfo: { readonly username: string; readonly extra?: Readonly<Record<string, readonly string[]>> };
}

export interface Admission {
  readonly request: AdmissionRequest;
  readonly object: unknown;
  /** null where it is created. */
  readonly oldObject: unknown;
}

interface PolicySpec {
  readonly failurePolicy: string;
  readonly matchConditions: readonly { readonly expression: string }[];
  readonly variables: readonly { readonly name: string; readonly expression: string }[];
  readonly validations: readonly {
    readonly expression: string;
    readonly message?: string;
    readonly messageExpression?: string;
  }[];
}

/** Why the policy refuses; undefined where it lets the request through. */
export function refusal(policy: KubeObject, admission: Admission): string | undefined {
  const spec = policy.spec as PolicySpec;
  if (spec.failurePolicy !== "Fail") throw new Error(`${policy.metadata.name} lets pass what it cannot evaluate`);
  const environment = new Environment({ homogeneousAggregateLiterals: false });
  for (const name of ["request", "object", "oldObject", "variables"]) environment.registerVariable(name, "dyn");
  // cel-go's extension of strings, which Kubernetes has on, has it.
  environment.registerFunction("list.join(string): string", (list: readonly string[], separator: string) =>
    list.join(separator),
  );
  const variables = {};
  const context = { ...admission, variables };
  const evaluate = (expression: string): unknown => environment.evaluate(expression, context);
  for (const { name, expression } of spec.variables)
    Object.defineProperty(variables, name, { enumerable: true, get: () => evaluate(expression) });
  try {
    if (!spec.matchConditions.every(({ expression }) => isTrue(evaluate(expression)))) return undefined;
    const failed = spec.validations.find(({ expression }) => !isTrue(evaluate(expression)));
    if (failed === undefined) return undefined;
    return failed.messageExpression === undefined ? failed.message : String(evaluate(failed.messageExpression));
  } catch (error) {
    return `cannot be evaluated: ${(error as Error).message}`;
  }
}

function isTrue(value: unknown): boolean {
  if (typeof value !== "boolean") throw new Error(`expected true or false, got ${String(value)}`);
  return value;
}

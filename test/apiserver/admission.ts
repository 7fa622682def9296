/**
 * Evaluates ValidatingAdmissionPolicies (KEP-3488) like an API server, with a JavaScript implementation of CEL:
 * conditions first, then each validation, with the variables that it uses. An expression that cannot be evaluated
 * rejects the request (failurePolicy Fail). Objects and request are dynamic values, as in the API server.
 */
import { Environment } from "@marcbachmann/cel-js";

/** The fields of a policy that are used. */
export interface Policy {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec?: unknown;
}

export interface AdmissionRequest {
  readonly operation: "CREATE" | "UPDATE";
  readonly userInfo: { readonly username: string; readonly extra?: Readonly<Record<string, readonly string[]>> };
}

export interface Admission {
  readonly request: AdmissionRequest;
  readonly object: unknown;
  /** null for a creation. */
  readonly oldObject: unknown;
}

interface PolicySpec {
  readonly failurePolicy: string;
  readonly matchConstraints: { readonly resourceRules: readonly { readonly resources: readonly string[] }[] };
  readonly matchConditions: readonly { readonly expression: string }[];
  readonly variables: readonly { readonly name: string; readonly expression: string }[];
  readonly validations: readonly {
    readonly expression: string;
    readonly message?: string;
    readonly messageExpression?: string;
  }[];
}

/** The reason for rejecting a write to `resource`, in an API server's words; undefined if all policies allow it. */
export type Admit = (resource: string, admission: Admission) => string | undefined;

/** Combines the policies among `objects`. */
export function admitBy(objects: readonly Policy[]): Admit {
  const policies = objects.filter(({ kind }) => kind === "ValidatingAdmissionPolicy");
  return (resource, admission) => {
    for (const policy of policies) {
      const { resourceRules } = (policy.spec as PolicySpec).matchConstraints;
      if (!resourceRules.some(({ resources }) => resources.includes(resource))) continue;
      const reason = refusal(policy, admission);
      if (reason !== undefined) return `ValidatingAdmissionPolicy '${policy.metadata.name}' denied request: ${reason}`;
    }
    return undefined;
  };
}

/** The reason for the policy's rejection; undefined if it allows the request. */
export function refusal(policy: Policy, admission: Admission): string | undefined {
  const spec = policy.spec as PolicySpec;
  if (spec.failurePolicy !== "Fail") throw new Error(`${policy.metadata.name} allows requests that it cannot evaluate`);
  const environment = new Environment({ homogeneousAggregateLiterals: false });
  for (const name of ["request", "object", "oldObject", "variables"]) environment.registerVariable(name, "dyn");
  // Part of cel-go's string extension, which Kubernetes enables.
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

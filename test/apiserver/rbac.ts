/**
 * The rights that roles and their bindings give to a service account: the union of all rules bound to it, as in RBAC.
 */

/**
 * False means 403. `namespace` is undefined for cluster-wide resources; `group` is the core group by default; `name` is
 * that of one object.
 */
export type Permits = (
  verb: string,
  resource: string,
  namespace: string | undefined,
  group?: string,
  name?: string,
) => boolean;

export interface RbacObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly Rule[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[];
}

interface Rule {
  readonly apiGroups?: readonly string[];
  readonly resources?: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

/** `objects` may contain other kinds. Throws if a binding refers to a role that is not among them. */
export function permitsOf(objects: readonly RbacObject[], account: { namespace: string; name: string }): Permits {
  const bindings = objects.filter(
    ({ kind, subjects = [] }) =>
      /^(Cluster)?RoleBinding$/.test(kind) &&
      subjects.some(
        (subject) =>
          subject.kind === "ServiceAccount" && subject.name === account.name && subject.namespace === account.namespace,
      ),
  );
  const grants = bindings.flatMap((binding) => {
    const scope = binding.kind === "ClusterRoleBinding" ? undefined : binding.metadata.namespace;
    return rulesOf(objects, binding).map((rule) => ({ rule, scope }));
  });
  return (verb, resource, namespace, group = "", name = "") =>
    grants.some(
      ({ rule, scope }) => (scope === undefined || scope === namespace) && covers(rule, verb, group, resource, name),
    );
}

function rulesOf(objects: readonly RbacObject[], { kind, metadata, roleRef }: RbacObject): readonly Rule[] {
  const role = objects.find(
    (object) =>
      object.kind === roleRef?.kind &&
      object.metadata.name === roleRef.name &&
      (object.kind === "ClusterRole" || object.metadata.namespace === metadata.namespace),
  );
  if (role === undefined) throw new Error(`${kind} ${metadata.name}: there is no ${roleRef?.kind} ${roleRef?.name}`);
  return role.rules ?? [];
}

/** A rule with resource names covers no request without a name, such as a list or a creation. */
function covers(rule: Rule, verb: string, group: string, resource: string, name: string): boolean {
  const { apiGroups = [], resources = [], resourceNames, verbs } = rule;
  const has = (list: readonly string[], value: string) => list.includes(value) || list.includes("*");
  if (resourceNames !== undefined && !resourceNames.includes(name)) return false;
  return has(apiGroups, group) && has(resources, resource) && has(verbs, verb);
}

/**
 * The recipes of docs/network-policy.md have the outcomes that the page states: their YAML is parsed as weftd parses it, and
 * each connection of their tables is judged by the policies, and by the tables that weftd programs.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { CLUSTER_NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/cluster-network-policy.ts";
import { NAMESPACE_PARSER } from "../../pkg/cluster/policy/namespace.ts";
import { NETWORK_POLICY_PARSER } from "../../pkg/cluster/policy/network-policy.ts";
import { POD_PARSER } from "../../pkg/cluster/policy/pod.ts";
import type { KubeObject } from "../../pkg/cluster/resource.ts";
import { type Address, parseAddress } from "../../pkg/ip/address.ts";
import type { Judgement } from "../../pkg/policy/judgement.ts";
import { PolicyMap } from "../../pkg/policy/policy-map.ts";
import { PolicyTables } from "../../pkg/policy/tables.ts";

const PAGE = readFileSync(join(import.meta.dirname, "../../docs/network-policy.md"), "utf8");
const RECIPES = PAGE.slice(PAGE.indexOf("\n## Recipes\n"), PAGE.indexOf("\n## See what policies do\n"));
const PROTOCOLS: Readonly<Record<string, number>> = { ICMP: 1, TCP: 6, UDP: 17, SCTP: 132 };

interface DocPod {
  readonly key: string;
  readonly address: Address;
  readonly object: KubeObject;
}

interface Row {
  readonly from: string;
  readonly to: string;
  readonly port: string;
  readonly outcome: string;
}

/** The cells of the rows below a head. */
function rowsBelow(text: string, head: string): string[][] {
  const [, rest = ""] = text.split(`\n${head}\n`);
  const [rows = ""] = rest.split("\n\n");
  const lines = rows.split("\n").filter((line) => line.startsWith("| "));
  return lines.map((line) => line.split("|").map((part) => part.trim())).map((parts) => parts.slice(1, -1));
}

const unquoted = (text: string) => text.replaceAll("`", "");

/** The pods of the table before the recipes, with one address each. */
const PODS: readonly DocPod[] = rowsBelow(RECIPES, "| pod | labels | named ports |").map(
  ([name = "", label = "", port = ""], at) => {
    const [namespace = "", podName = ""] = unquoted(name).split("/");
    const [key = "", value = ""] = unquoted(label).split(": ");
    const [, portName, containerPort, protocol] = /^(\w+) (\d+)\/(\w+)$/.exec(unquoted(port)) ?? [];
    const address = `10.244.0.${at + 10}`;
    const object = {
      metadata: { namespace, name: podName, uid: podName, labels: { [key]: value } },
      spec: {
        nodeName: "n1",
        containers: [
          { ports: portName === undefined ? [] : [{ name: portName, containerPort: Number(containerPort), protocol }] },
        ],
      },
      status: { phase: "Running", podIP: address, podIPs: [{ ip: address }] },
    } as unknown as KubeObject;
    return { key: unquoted(name), address: parseAddress(address), object };
  },
);

/** Labels of Namespaces that the page states, besides their names. */
const LABELS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  monitoring: { team: "ops" },
  lab: { zone: "untrusted" },
};

const namespaceOf = (name: string, more: object = {}) =>
  ({
    metadata: { ...more, name, labels: { "kubernetes.io/metadata.name": name, ...LABELS[name] } },
  }) as unknown as KubeObject;

interface Recipe {
  readonly title: string;
  readonly objects: readonly KubeObject[];
  readonly rows: readonly Row[];
}

const ALL: readonly Recipe[] = RECIPES.split("\n### ")
  .slice(1)
  .map((section) => {
    const yaml = [...section.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text).join("---\n");
    return {
      title: section.slice(0, section.indexOf("\n")),
      objects: parseAllDocuments(yaml).map((document) => document.toJS() as KubeObject),
      rows: rowsBelow(section, "| from | to | port | outcome |").map(
        ([from = "", to = "", port = "", outcome = ""]) => ({
          ...{ from: unquoted(from), to: unquoted(to), port, outcome: unquoted(outcome) },
        }),
      ),
    };
  });

/** The compiler with the recipe's objects, and the tables that it has produced. */
function compile({ objects }: Recipe) {
  const map = new PolicyMap("n1");
  for (const { key, object } of PODS) {
    const [namespace = ""] = key.split("/");
    map.setNamespace(namespace, NAMESPACE_PARSER.parse(namespaceOf(namespace)));
    map.setPod(key, POD_PARSER.parse(object));
  }
  const problems: string[] = [];
  for (const object of objects) {
    const { kind, metadata } = object as KubeObject & { readonly kind: string };
    if (kind === "Namespace")
      map.setNamespace(metadata.name, NAMESPACE_PARSER.parse(namespaceOf(metadata.name, metadata)));
    else if (kind === "NetworkPolicy") {
      const policy = NETWORK_POLICY_PARSER.parse(object);
      problems.push(...(policy?.problems ?? []));
      map.setPolicy(`${metadata.namespace}/${metadata.name}`, policy);
    } else if (kind === "ClusterNetworkPolicy") {
      const policy = CLUSTER_NETWORK_POLICY_PARSER.parse(object);
      problems.push(...(policy?.problems ?? []));
      map.setClusterPolicy(metadata.name, policy);
    } else throw new Error(`an object of kind ${kind}`);
  }
  const tables = new PolicyTables();
  for (const change of map.changes()) tables.apply(change);
  return { map, tables, problems };
}

const addressOf = (name: string) => PODS.find(({ key }) => key === name)?.address ?? parseAddress(name);

/** "allowed", "denied by shop/a", "audited by shop/a" */
function outcomeOf({ egress, ingress }: Judgement): string {
  const side = [egress, ingress].find((each) => each?.verdict === "deny");
  if (side === undefined) return "allowed";
  return `${side.isAudited ? "audited" : "denied"} by ${side.policies.join(", ")}`;
}

test("there are recipes, each with outcomes of both kinds", () => {
  expect(PODS.map(({ key }) => key)).toContain("kube-system/dns");
  expect(ALL.length).toBeGreaterThanOrEqual(8);
  for (const { title, objects, rows } of ALL) {
    expect(objects, title).not.toEqual([]);
    expect(new Set(rows.map(({ outcome }) => outcome === "allowed")), title).toEqual(new Set([true, false]));
  }
});

describe.each(ALL)("$title", (recipe) => {
  const { map, tables, problems } = compile(recipe);

  test("is parsed without problems", () => {
    expect(problems).toEqual([]);
  });

  test.each(recipe.rows)("$from to $to, $port: $outcome", ({ from, to, port: text, outcome }) => {
    const [number = "0", protocolName = text] = text.includes("/") ? text.split("/") : [];
    const question = {
      ...{ from: addressOf(from), to: addressOf(to) },
      ...{ protocol: PROTOCOLS[protocolName] ?? Number.NaN, port: Number(number) },
    };
    expect(outcomeOf(map.judge(question))).toBe(outcome);
    const { protocol, port } = question;
    const sides = [
      tables.verdict("egress", question.from, question.to, protocol, port),
      tables.verdict("ingress", question.to, question.from, protocol, port),
    ];
    expect(sides.every((verdict) => verdict === "allow")).toBe(outcome === "allowed");
  });
});

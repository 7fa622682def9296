/**
 * pkg/footprint.ts defines everything that weft leaves on a node. No other source has a copy of one of its values, nor
 * a name of these kinds (a path on the node, a name or mark of weft, the priority of a chain or a filter) that is
 * missing there.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parseAst } from "vitest/node";
import * as footprint from "../../pkg/footprint.ts";

const ROOT = join(import.meta.dirname, "../..");

/** Names that are not weft's on a node: the file, the value, and the reason. */
const EXCEPTIONS: readonly (readonly [file: string, value: RegExp, reason: string])[] = [
  ["daemon/core/metrics.ts", /^weft_/, "names of metrics"],
  ["daemon/controllers/service-health/connection-counters.ts", /^weft_/, "names of metrics"],
  ["daemon/controllers/services/service-metrics.ts", /^weft_/, "names of metrics"],
  ["daemon/controllers/policy/policy-metrics.ts", /^weft_/, "names of metrics"],
  ["daemon/controllers/policy/attach-server.ts", /^weft_/, "the name of a metric"],
  ["daemon/controllers/policy-flows/cut-flows-counter.ts", /^weft_/, "names of metrics"],
  ["daemon/controllers/policy-log/log-entries-counter.ts", /^weft_/, "the name of a metric"],
  ["pkg/cluster/node/annotations.ts", /^weft\//, "an annotation of Nodes"],
  ["pkg/cluster/policy/namespace.ts", /^weft\//, "an annotation of Namespaces"],
  ["pkg/dbus/bus.ts", /^\/run\/dbus\//, "D-Bus's socket"],
  ["command/doctor/checks/others.ts", /^\/etc\/(systemd|NetworkManager)\//, "a path in doctor's advice"],
  ["command/doctor/gather/other-programs.ts", /^\/(etc|run)\/(systemd|NetworkManager)/, "other programs'"],
  ["command/doctor/gather/unseen.ts", /^\/run\/systemd$/, "another program's"],
];

interface Literal {
  readonly value: string | number;
  readonly line: number;
  /** The property whose value it is. */
  readonly property: string | undefined;
}

/** Strings, parts of templates and numbers in values, but not imports' paths and types. */
function literalsOf(source: string): Literal[] {
  const found: Literal[] = [];
  const visit = (node: unknown, property?: string): void => {
    if (Array.isArray(node)) for (const child of node) visit(child);
    if (typeof node !== "object" || node === null || !("type" in node)) return;
    const { type, start } = node as { type: string; start: number };
    const add = (value: string | number) =>
      found.push({ value, line: source.slice(0, start).split("\n").length, property });
    if (/^(Import|ExportAll|TSTypeAliasDeclaration|TSInterface)/.test(type)) return;
    if (type === "Literal" && "value" in node && (typeof node.value === "string" || typeof node.value === "number"))
      add(node.value);
    if (type === "UnaryExpression" && "operator" in node && node.operator === "-" && "argument" in node) {
      const { value } = node.argument as { value?: unknown };
      if (typeof value === "number") return void add(-value);
    }
    if (type === "TemplateElement" && "value" in node) add((node.value as { cooked: string }).cooked);
    if (type === "Property" && "key" in node && "value" in node) {
      visit(node.value, (node.key as { name?: string }).name);
      return;
    }
    for (const [key, child] of Object.entries(node)) if (key !== "source" || type === "CallExpression") visit(child);
  };
  visit(parseAst(source, { lang: "ts" }));
  return found;
}

function leavesOf(value: unknown): (string | number)[] {
  // The parts of a setting's name are the kernel's, except the last one.
  if (Array.isArray(value) && value[0] === "net") return value.slice(-1);
  if (typeof value === "string" || typeof value === "number") return [value];
  return Object.values(value as object).flatMap(leavesOf);
}

const ROUND: ReadonlySet<number> = new Set([footprint.SRCNAT_PRIORITY, footprint.BEFORE_SRCNAT_PRIORITY]);

/** Words, loopback and numbers that are small or of a few bits also have other meanings. */
const isTelling = (value: string | number) =>
  typeof value === "string"
    ? /[^a-z]/.test(value) && value !== footprint.METRICS_LISTEN.host
    : Math.abs(value) >= 99 && value < 2 ** 16 && !ROUND.has(value);

const VALUES = new Set(Object.values(footprint).flatMap(leavesOf).filter(isTelling));
const PLACES = [...VALUES].filter((value) => typeof value === "string" && value.startsWith("/")) as string[];
const OWN_NAME = /^(?:\/(?:run|var|etc|opt)\/|\.?weft[_:./-])/;
const OWN_MARK = /^(?:weft:\S|cni:)/;

/** The rule that a literal violates, as text; undefined if none. */
function offence({ value, property }: Literal): string | undefined {
  if (VALUES.has(value)) return "has a constant there";
  if (typeof value === "number") return property === "priority" ? "is a priority, and belongs there" : undefined;
  if (OWN_MARK.test(value)) return "is a mark, and belongs there";
  // A text with blanks is for people.
  if (/\s/.test(value)) return undefined;
  if (PLACES.some((place) => value.startsWith(`${place}/`))) return "begins with a path that has a constant there";
  return OWN_NAME.test(value) ? "is a name on the node, and belongs there" : undefined;
}

const isException = (file: string, { value }: Literal) =>
  EXCEPTIONS.some(([where, pattern]) => where === file && pattern.test(String(value)));

function offencesIn(file: string, source: string): string[] {
  return literalsOf(source).flatMap((literal) => {
    const what = offence(literal);
    if (what === undefined || isException(file, literal)) return [];
    return [`${file}:${literal.line}: ${JSON.stringify(literal.value)} ${what} (pkg/footprint.ts)`];
  });
}

const FILES = globSync("{pkg,plugins,daemon,command}/**/*.ts", { cwd: ROOT }).filter(
  (file) => file !== "pkg/footprint.ts" && !file.endsWith(".test.ts"),
);
const sourceOf = (file: string) => readFileSync(join(ROOT, file), "utf8");

test("no source has a copy of a value in pkg/footprint.ts, or a name that belongs there", () => {
  expect(FILES.flatMap((file) => offencesIn(file, sourceOf(file)))).toEqual([]);
});

test.each(EXCEPTIONS)("the exception %s %s is needed (%s)", (file, pattern) => {
  const literals = literalsOf(sourceOf(file)).filter(({ value }) => pattern.test(String(value)));
  expect(literals.filter((literal) => offence(literal) !== undefined)).not.toEqual([]);
});

test("pkg/footprint.ts imports nothing", () => {
  expect(sourceOf("pkg/footprint.ts")).not.toMatch(/\b(?:import|require)\b|\bfrom\s+"/);
});

test.each([
  ['const DIR = "/run/weft";', 'x.ts:1: "/run/weft" has a constant there (pkg/footprint.ts)'],
  [
    "const file = `/run/weft/@{name}`;",
    'x.ts:1: "/run/weft/" begins with a path that has a constant there (pkg/footprint.ts)',
  ],
  [
    '// one\nf({ dir: "/var/lib/cni/other" });',
    'x.ts:2: "/var/lib/cni/other" is a name on the node, and belongs there (pkg/footprint.ts)',
  ],
  [
    'const table = { name: "weft_services" };',
    'x.ts:1: "weft_services" is a name on the node, and belongs there (pkg/footprint.ts)',
  ],
  ["const mark = `weft:svc @{id}`;", 'x.ts:1: "weft:svc " is a mark, and belongs there (pkg/footprint.ts)'],
  ["const mark = `weft:@{id}`;", 'x.ts:1: "weft:" has a constant there (pkg/footprint.ts)'],
  ["const protocol = 119;", "x.ts:1: 119 has a constant there (pkg/footprint.ts)"],
  ["const chain = { priority: -5 };", "x.ts:1: -5 is a priority, and belongs there (pkg/footprint.ts)"],
  ['throw new Error("cannot write /run/weft/nodes.json: full");', undefined],
  ["/** As in /run/weft. */\nexport const x = 1;", undefined],
])("%s: %s", (source, expected) => {
  expect(offencesIn("x.ts", source.replaceAll("@", "$"))).toEqual(expected === undefined ? [] : [expected]);
});

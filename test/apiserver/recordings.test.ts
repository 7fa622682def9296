/** The test API server compared with recordings of a real kube-apiserver: same request, same state, same answer. */
import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, describe, expect, test, vi } from "vitest";
import { Cluster } from "./cluster.ts";
import { type Answer, type ApiRequest, handle } from "./handler.ts";
import { isObject, type Json, type JsonObject, type NodeInput, type ObjectInput } from "./resource.ts";
import { formatBookmark, formatChange, startWatch } from "./watch.ts";

const FOLDER = new URL("../vectors/kube-api/", import.meta.url);

interface Exchange {
  readonly request: ApiRequest;
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const used = new Set<string>();

function readExchange(name: string): Exchange {
  used.add(name);
  const text = readFileSync(new URL(name, FOLDER), "utf8");
  const [sent = "", answered = "", ...rest] = text.trimEnd().split("\n\n");
  const lines = sent.split("\n").map((line) => line.slice(2));
  const blank = lines.indexOf("");
  const [requestLine = "", ...requestHeaders] = blank < 0 ? lines : lines.slice(0, blank);
  const [method = "", target = ""] = requestLine.split(" ");
  const body = blank < 0 ? "" : lines.slice(blank + 1).join("\n");
  const [statusLine = "", ...headers] = answered.split("\n");
  return {
    request: { method, target, headers: parseHeaders(requestHeaders), body },
    status: Number(statusLine.split(" ")[1]),
    headers: parseHeaders(headers),
    body: rest.join("\n\n"),
  };
}

function parseHeaders(lines: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(": ");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 2)];
    }),
  );
}

/** Values that necessarily differ between two servers that each created the object. */
const OF_THE_SERVER = { uid: "(uid)", creationTimestamp: "(time)" } as const;

function withoutIdentity(value: Json | undefined): Json | undefined {
  if (Array.isArray(value)) return value.map((item) => withoutIdentity(item) ?? null);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).map(([key, item]) => [
    key,
    key in OF_THE_SERVER ? OF_THE_SERVER[key as keyof typeof OF_THE_SERVER] : withoutIdentity(item),
  ]);
  return Object.fromEntries(entries) as JsonObject;
}

function parseLines(lines: string): (Json | undefined)[] {
  return lines
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => withoutIdentity(JSON.parse(line) as Json));
}

const NODES_AT_362 = [...itemsOf("02-list-page1.http"), ...itemsOf("03-list-page2.http")];
const [NODE_1, NODE_2] = NODES_AT_362 as [NodeInput, NodeInput];

function itemsOf(name: string): NodeInput[] {
  return (JSON.parse(readExchange(name).body) as { items: NodeInput[] }).items;
}

/** node-4 as the later recordings show it. It was created after the first ones, and no recording has it completely. */
const NODE_4 = {
  metadata: { name: "node-4", resourceVersion: "366", annotations: { "node.alpha.kubernetes.io/ttl": "0" } },
} as const satisfies NodeInput;

function clusterWith(nodes: readonly NodeInput[], version: number): Cluster {
  const cluster = new Cluster({ nowMs: () => 0, newUid: randomUUID });
  cluster.nodes.seed(nodes, version);
  return cluster;
}

function answer(cluster: Cluster, exchange: Exchange, token?: string, forbidden?: ReadonlySet<string>): Answer {
  const outcome = handle({ cluster, token, forbidden }, exchange.request);
  if (outcome.kind !== "answer") throw new Error("answered with a watch");
  return outcome.answer;
}

function expectSame(actual: Answer, exchange: Exchange): void {
  expect(actual.status).toBe(exchange.status);
  expect(actual.headers["Content-Type"]).toBe(exchange.headers["content-type"]);
  expect(actual.headers["Retry-After"]).toBe(exchange.headers["retry-after"]);
  expect(JSON.parse(actual.body)).toEqual(JSON.parse(exchange.body));
}

describe("recorded answers", () => {
  test.each([
    ["01-get-node.http", NODES_AT_362, 362],
    ["02-list-page1.http", NODES_AT_362, 362],
    ["03-list-page2.http", NODES_AT_362, 362],
    ["04-list-metadata-only.http", NODES_AT_362, 362],
    ["06-get-metadata-only.http", NODES_AT_362, 362],
    ["11-list-future-version.http", [NODE_1, NODE_2, NODE_4], 371],
    ["12-list-bad-continue.http", [NODE_1, NODE_2, NODE_4], 371],
    ["13-not-found.http", [NODE_1, NODE_2, NODE_4], 371],
    ["16-merge-patch.http", [NODE_1, NODE_2, NODE_4], 371],
    ["20-conflict.http", [NODE_1, NODE_2, NODE_4], 371],
    ["21-unsupported-media-type.http", [NODE_1, NODE_2, NODE_4], 371],
  ] as const)("gives the same answer to %s", (name, nodes, version) => {
    const exchange = readExchange(name);
    expectSame(answer(clusterWith(nodes, version), exchange), exchange);
  });

  test("an unknown token gets the same answer", () => {
    const exchange = readExchange("14-unauthorized.http");
    expectSame(answer(clusterWith(NODES_AT_362, 362), exchange, "another"), exchange);
  });

  test("a missing right gets the same answer", () => {
    const exchange = readExchange("15-forbidden-patch.http");
    const forbidden = new Set(["patch nodes"]);
    expectSame(answer(clusterWith(NODES_AT_362, 362), exchange, undefined, forbidden), exchange);
  });

  test("a table has the recorded columns and cells", () => {
    const exchange = readExchange("05-list-table.http");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-11-21T03:10:16Z") });
    const actual = JSON.parse(answer(clusterWith(NODES_AT_362, 362), exchange).body) as Table;
    vi.useRealTimers();
    const recorded = JSON.parse(exchange.body) as Table;
    // weft's descriptions of columns differ, and the list was recorded just before a Node's age changed by one.
    const withoutWords = (table: Table) => ({
      ...table,
      columnDefinitions: table.columnDefinitions.map(({ description, ...column }) => column),
    });
    expect(withoutWords(actual)).toEqual(withoutWords(recorded));
  });

  test("a condition merged by its type keeps the others, and gets the same answer", () => {
    const exchange = readExchange("18-strategic-merge-status-condition.http");
    const recorded = JSON.parse(exchange.body) as NodeInput & { status: { conditions: JsonObject[] } };
    expectSame(answer(clusterWith([recorded], 373), exchange), exchange);
    // The recorded patch changed nothing; so it is applied once more to a Node that differs.
    const [, ...others] = recorded.status.conditions;
    const before = { type: "NetworkUnavailable", status: "True", reason: "NoRouteCreated", lastHeartbeatTime: null };
    const status = { ...recorded.status, conditions: [before, ...others] };
    const patched = JSON.parse(answer(clusterWith([{ ...recorded, status }], 373), exchange).body) as typeof recorded;
    expect(patched.status).toEqual(recorded.status);
  });

  test("an Event is stored alike", () => {
    const exchange = readExchange("23-create-event.http");
    const actual = answer(clusterWith([NODE_1], 373), exchange);
    expect(actual.status).toBe(exchange.status);
    const named = (text: string) => {
      const { metadata, ...event } = JSON.parse(text) as { metadata: JsonObject };
      expect(metadata.name).toMatch(/^node-1\.weft\.[a-z0-9]{5}$/);
      return { ...event, metadata: withoutIdentity({ ...metadata, name: "(generated)" }) };
    };
    expect(named(actual.body)).toEqual(named(exchange.body));
  });

  test("a merge patch with null removes the key", () => {
    const cluster = clusterWith([NODE_1], 371);
    answer(cluster, readExchange("16-merge-patch.http"));
    const exchange = readExchange("17-merge-patch-removes-key.http");
    expectSame(answer(cluster, exchange), exchange);
  });

  test("an invalid annotation key gets the same answer", () => {
    const exchange = readExchange("22-invalid-annotation-key.http");
    const actual = answer(clusterWith([NODE_1], 371), exchange);
    // The real server validates the metadata in four passes and lists the same cause for each.
    const recorded = JSON.parse(exchange.body) as { details: { causes: unknown[] } };
    expect(recorded.details.causes).toHaveLength(4);
    recorded.details.causes.splice(1);
    expectSame(actual, { ...exchange, body: JSON.stringify(recorded) });
  });

  test("/version has the recorded fields", () => {
    const exchange = readExchange("24-version.http");
    const actual = answer(clusterWith([], 1), exchange);
    expect(actual.headers["Content-Type"]).toBe(exchange.headers["content-type"]);
    const { major, minor, ...rest } = JSON.parse(actual.body) as JsonObject;
    const recorded = JSON.parse(exchange.body) as JsonObject;
    expect({ major, minor }).toEqual({ major: recorded.major, minor: recorded.minor });
    expect(Object.keys({ major, minor, ...rest })).toEqual(Object.keys(recorded));
  });

  test("/readyz gets the same answer", () => {
    const exchange = readExchange("25-readyz.http");
    const actual = answer(clusterWith([], 1), exchange);
    expect(actual.status).toBe(200);
    expect(actual.headers["Content-Type"]).toBe(exchange.headers["content-type"]);
    expect(actual.body).toBe(exchange.body);
  });
});

describe("recorded answers about other kinds", () => {
  /** Other objects of the recorded cluster, of which only the number and the sort order are known. */
  const others = (count: number, rest: JsonObject = {}): ObjectInput[] =>
    Array.from({ length: count }, (_, n) => ({ metadata: { name: `other-${n}`, namespace: "rec" }, ...rest }));

  test.each([
    ["30-list-services.http", "services", others(8)],
    ["31-list-endpointslices.http", "endpointslices", recordedSlices()],
    ["32-list-namespaces-metadata.http", "namespaces", []],
    ["33-list-networkpolicies.http", "networkpolicies", []],
    ["34-list-servicecidrs.http", "servicecidrs", []],
    ["35-list-pods-on-node.http", "pods", [...others(4), ...others(1, { spec: { nodeName: "n1" } })]],
    ["36-list-pods-metadata.http", "pods", others(9)],
    ["37-list-services-selector.http", "services", others(1)],
  ] as const)("gives the same answer to %s", (name, plural, more) => {
    const exchange = readExchange(name);
    const cluster = clusterWith([], 1);
    cluster.of(plural).seed([...more, ...itemsOf(name)], 6297);
    expectSame(answer(cluster, exchange), exchange);
  });

  const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

  test.each([
    ["services", "/api/v1", itemsOf("30-list-services.http")],
    ["endpointslices", "/apis/discovery.k8s.io/v1", recordedSlices()],
    ["networkpolicies", "/apis/networking.k8s.io/v1", itemsOf("33-list-networkpolicies.http")],
  ] as const)("%s created from the manifests of the recorded ones are stored alike", (plural, root, recorded) => {
    const cluster = clusterWith([], 1);
    cluster.of("namespaces").create({ metadata: { name: "rec" } });
    for (const object of recorded) {
      const text = (object.metadata.annotations as JsonObject | undefined)?.[LAST_APPLIED];
      // Objects made by a controller have no manifest.
      if (typeof text !== "string") continue;
      const target = `${root}/namespaces/${String(object.metadata.namespace)}/${plural}`;
      const made = answer(cluster, { ...POST, request: { ...POST.request, target, body: text } });
      expect(made.status).toBe(201);
      const hasAddress = text.includes('"clusterIP"');
      expect(withoutChoices(JSON.parse(made.body), hasAddress)).toEqual(withoutChoices(object, hasAddress));
    }
    expect(cluster.of(plural).list()).not.toEqual([]);
  });

  test("38: an unserved group gets the same answer", () => {
    const exchange = readExchange("38-crd-absent.http");
    const actual = answer(clusterWith([], 1), exchange);
    expect(actual.status).toBe(exchange.status);
    expect(actual.headers["Content-Type"]).toBe(exchange.headers["content-type"]);
    expect(actual.headers["X-Content-Type-Options"]).toBe(exchange.headers["x-content-type-options"]);
    expect(actual.body.trimEnd()).toBe(exchange.body);
  });

  test("39: a streaming list of one namespace, and a change after it", () => {
    const exchange = readExchange("39-watch-endpointslices-initial.http");
    const cluster = clusterWith([], 1);
    const slices = cluster.of("endpointslices");
    const elsewhere = { metadata: { name: "elsewhere", namespace: "default" } };
    slices.seed([...recordedSlices(), elsewhere], 6297);
    const outcome = handle({ cluster }, exchange.request);
    if (outcome.kind !== "watch") throw new Error("no watch");
    const { lines } = startWatch(slices, outcome.query);
    const later: string[] = [];
    slices.subscribe((change) => later.push(...formatChange(change, outcome.query)));
    // Other objects advanced the counter before the endpoint became not ready.
    cluster.nodes.seed([], 6299);
    slices.update("default/elsewhere", (slice) => slice);
    slices.update("rec/web-1", (slice) => {
      const [first, ...rest] = slice.endpoints as JsonObject[];
      return { ...slice, endpoints: [{ ...first, conditions: { ready: false } }, ...rest] };
    });
    expect(parseLines([...lines, ...later].join(""))).toEqual(parseLines(exchange.body));
  });
});

const POST: Exchange = {
  request: { method: "POST", target: "", headers: { "content-type": "application/json" }, body: "" },
  ...{ status: 201, headers: {}, body: "" },
};

/** An object without kubectl's additions and the server's choices; an address is a choice if the manifest has none. */
function withoutChoices(object: ObjectInput, hasAddress: boolean): Json | undefined {
  const { kind: _kind, apiVersion: _apiVersion, metadata, spec, ...rest } = object;
  const { annotations: _annotations, resourceVersion: _version, ...named } = metadata;
  const chosen = hasAddress ? {} : { clusterIP: "(chosen)", clusterIPs: ["(chosen)"] };
  return withoutIdentity({ ...rest, metadata: named, ...(isObject(spec) ? { spec: { ...spec, ...chosen } } : {}) });
}

/** The slices of namespace "rec" as the streaming list shows them. */
function recordedSlices(): ObjectInput[] {
  return parseLines(readExchange("39-watch-endpointslices-initial.http").body)
    .map((line) => line as { type: string; object: ObjectInput })
    .flatMap(({ type, object }) => (type === "ADDED" ? [object] : []));
}

describe("recorded watches", () => {
  function watchLines(cluster: Cluster, exchange: Exchange) {
    const outcome = handle({ cluster }, exchange.request);
    if (outcome.kind !== "watch") throw new Error("no watch");
    const { store, query } = outcome;
    return { store, query, ...startWatch(store, query) };
  }

  test("07: creation, changes, deletion, and the bookmark before the end", () => {
    const exchange = readExchange("07-watch-metadata-only.http");
    const cluster = clusterWith(NODES_AT_362, 362);
    cluster.nodes.create({ metadata: { name: "node-4" } });
    cluster.nodes.update("node-4", (node) => ({
      ...node,
      spec: { podCIDR: "10.244.3.0/24", podCIDRs: ["10.244.3.0/24"] },
    }));
    cluster.nodes.update("node-4", (node) => ({ ...node, metadata: { ...node.metadata, annotations: TTL } }));
    cluster.nodes.update("node-4", (node) => ({ ...node, spec: { ...node.spec, unschedulable: true } }));
    cluster.nodes.delete("node-3");
    const { lines, query, store } = watchLines(cluster, exchange);
    const sent = [...lines, formatBookmark(store.kind, store.version, query.form)].join("");
    expect(parseLines(sent)).toEqual(parseLines(exchange.body));
  });

  test("08: an annotation written and removed, and bookmarks without changes", () => {
    const exchange = readExchange("08-watch-bookmarks-and-server-timeout.http");
    const cluster = clusterWith([NODE_1, NODE_2, NODE_4], 371);
    answer(cluster, readExchange("16-merge-patch.http"));
    answer(cluster, readExchange("17-merge-patch-removes-key.http"));
    const later = { ...exchange.request, target: exchange.request.target.replace("=369", "=371") };
    const { lines, query, store } = watchLines(cluster, { ...exchange, request: later });
    const recorded = parseLines(exchange.body);
    expect(parseLines(lines.join(""))).toEqual(recorded.slice(0, 2));
    expect(parseLines(formatBookmark(store.kind, 386, query.form))).toEqual(recorded.slice(-1));
  });

  test("09: a streaming list ends its initial events with an annotated bookmark", () => {
    const exchange = readExchange("09-watch-initial-events.http");
    const { lines } = watchLines(clusterWith([NODE_1, NODE_2, { ...NODE_4, ...RECORDED_IDENTITY }], 369), exchange);
    expect(parseLines(lines.join(""))).toEqual(parseLines(exchange.body));
  });

  test("10: a forgotten version is answered 200 with an ERROR event", () => {
    const exchange = readExchange("10-watch-too-old.http");
    const { lines, from } = watchLines(clusterWith([], 350), exchange);
    expect(parseLines(lines.join(""))).toEqual(parseLines(exchange.body));
    expect(from).toBeUndefined();
  });
});

interface Table extends JsonObject {
  readonly columnDefinitions: JsonObject[];
}

const TTL = { "node.alpha.kubernetes.io/ttl": "0" };
const RECORDED_IDENTITY = { metadata: { ...NODE_4.metadata, uid: "", creationTimestamp: "" } };

afterAll(() => {
  const recordings = readdirSync(FOLDER).filter((name) => name.endsWith(".http"));
  expect([...used].sort()).toEqual(recordings.sort());
});

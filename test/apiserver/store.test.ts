import { describe, expect, test } from "vitest";
import { NODES } from "./kinds.ts";
import { formatContinue, listPage, parseContinue } from "./listing.ts";
import { negotiateForm } from "./mediatype.ts";
import { mergePatch } from "./mergepatch.ts";
import type { Json } from "./resource.ts";
import { ApiError } from "./status.ts";
import { type Change, type NodeStore, ObjectStore, Revision } from "./store.ts";
import { strategicMergePatch } from "./strategicmerge.ts";

function newStore(historyLimit = 100): NodeStore {
  let uid = 0;
  return new ObjectStore(NODES, {
    revision: new Revision(),
    historyLimit,
    nowMs: () => 0,
    newUid: () => `uid-${++uid}`,
  });
}

function withNodes(count: number, historyLimit?: number): NodeStore {
  const store = newStore(historyLimit);
  for (let n = 0; n < count; n++) store.create({ metadata: { name: `n${String(n).padStart(4, "0")}` } });
  return store;
}

function label(store: NodeStore, name: string, value: string): void {
  store.update(name, (node) => ({ ...node, metadata: { ...node.metadata, labels: { value } } }));
}

function refusal(action: () => unknown): ApiError {
  try {
    action();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error("was not rejected");
}

describe("ObjectStore", () => {
  test("an update that changes nothing has no version and no event", () => {
    const store = withNodes(1);
    label(store, "n0000", "a");
    const seen: Change[] = [];
    store.subscribe((change) => seen.push(change));
    const before = store.version;
    label(store, "n0000", "a");
    expect([store.version, seen]).toEqual([before, []]);
  });

  test("name, uid and creation time survive an update without them", () => {
    const store = withNodes(1);
    const { uid, creationTimestamp } = store.get("n0000").metadata;
    const updated = store.update("n0000", () => ({ metadata: { name: "n0000" }, spec: { podCIDR: "10.0.0.0/24" } }));
    expect(updated.metadata).toMatchObject({ name: "n0000", uid, creationTimestamp });
    expect(updated.spec).toEqual({ podCIDR: "10.0.0.0/24", podCIDRs: ["10.0.0.0/24"] });
  });

  test("a uid of an earlier Node of the same name is a conflict", () => {
    const store = withNodes(1);
    const attempt = () => store.update("n0000", (node) => ({ metadata: { ...node.metadata, uid: "another" } }));
    expect(refusal(attempt).code).toBe(409);
  });

  test("the set at an earlier version is unchanged after creation, change and deletion", () => {
    const store = withNodes(3);
    const then = store.list();
    const { version } = store;
    label(store, "n0001", "changed");
    store.delete("n0002");
    store.create({ metadata: { name: "new" } });
    store.create({ metadata: { name: "n0002" } });
    expect(store.list(version)).toEqual(then);
    expect(store.list().map((node) => node.metadata.name)).toEqual(["n0000", "n0001", "n0002", "new"]);
  });

  test("a version before the bounded history is 410, the horizon itself is not", () => {
    const store = withNodes(5, 2);
    expect(store.horizon).toBe(store.version - 2);
    expect(refusal(() => store.changesSince(store.horizon - 1)).code).toBe(410);
    expect(store.changesSince(store.horizon)).toHaveLength(2);
  });
});

describe("listPage", () => {
  const page = (store: NodeStore, query: string) => listPage(store, new URLSearchParams(query));

  test("pages show the set of the first page's version, regardless of later changes", () => {
    const store = withNodes(5);
    const { version } = store;
    const first = page(store, "limit=2");
    expect(first.metadata).toMatchObject({ resourceVersion: String(version), remainingItemCount: 3 });
    store.delete("n0003");
    store.create({ metadata: { name: "n0002a" } });
    const second = page(store, `limit=2&continue=${first.metadata.continue}`);
    expect(second.objects.map((node) => node.metadata.name)).toEqual(["n0002", "n0003"]);
    const third = page(store, `limit=2&continue=${second.metadata.continue}`);
    expect(third.objects.map((node) => node.metadata.name)).toEqual(["n0004"]);
    expect(third.metadata).toEqual({ resourceVersion: String(version) });
  });

  test("a continue token from before the history is 410 Expired", () => {
    const store = withNodes(5);
    const { metadata } = page(store, "limit=2");
    store.create({ metadata: { name: "later" } });
    store.compact();
    expect(refusal(() => page(store, `continue=${metadata.continue}`))).toMatchObject({ code: 410, reason: "Expired" });
  });

  test.each([
    ["continue=xyz", 400],
    ["limit=-1", 400],
    ["limit=many", 400],
    ["resourceVersion=new", 400],
    ["resourceVersionMatch=Exact", 400],
    ["resourceVersionMatch=Best&resourceVersion=1", 400],
    ["resourceVersionMatch=Exact&resourceVersion=0", 400],
    ["resourceVersionMatch=Exact&resourceVersion=1", 410],
    ["resourceVersion=99999", 504],
  ])("rejects %s with %i", (query, code) => {
    const store = withNodes(3);
    store.compact();
    expect(refusal(() => page(store, query)).code).toBe(code);
  });

  test("version 0 is answered completely, whatever the limit", () => {
    expect(page(withNodes(3), "resourceVersion=0&limit=1").objects).toHaveLength(3);
  });

  test("an exact version shows the past", () => {
    const store = withNodes(2);
    const { version } = store;
    store.delete("n0000");
    expect(page(store, `resourceVersion=${version}&resourceVersionMatch=Exact`).objects).toHaveLength(2);
    expect(page(store, `resourceVersion=${version}`).objects).toHaveLength(1);
  });

  test("a continue token can be parsed back", () => {
    expect(parseContinue(formatContinue(362, "node-2"))).toEqual({ version: 362, after: "node-2" });
  });
});

describe("mergePatch", () => {
  // The examples of RFC 7386, appendix A.
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', "{}"],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"a":"b"}', '["c"]', '["c"]'],
    ['{"a":"foo"}', "null", "null"],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ["[1,2]", '{"a":"b","c":null}', '{"a":"b"}'],
    ["{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
  ])("%s patched with %s is %s", (target, patch, result) => {
    expect(mergePatch(JSON.parse(target), JSON.parse(patch))).toEqual(JSON.parse(result));
  });
});

describe("strategicMergePatch", () => {
  const conditions = [
    { type: "Ready", status: "True" },
    { type: "NetworkUnavailable", status: "True", reason: "x" },
  ];
  test.each<[string, Json, Json]>([
    [
      "merges conditions by their type",
      { status: { conditions: [{ type: "NetworkUnavailable", status: "False" }] } },
      { status: { conditions: [conditions[0] as Json, { type: "NetworkUnavailable", status: "False", reason: "x" }] } },
    ],
    [
      "deletes one item of a list",
      { status: { conditions: [{ type: "Ready", $patch: "delete" }] } },
      { status: { conditions: [conditions[1] as Json] } },
    ],
    ["replaces an object", { status: { $patch: "replace", phase: "x" } }, { status: { phase: "x" } }],
    ["replaces lists without a key", { status: { conditions, images: [1] } }, { status: { conditions, images: [1] } }],
    ["removes a key by null", { status: null }, {}],
  ])("%s", (_what, patch, result) => {
    expect(strategicMergePatch({ status: { conditions } }, patch)).toEqual(result);
  });

  test.each([{ status: { conditions: [{ status: "False" }] } }, { status: { $patch: "delete" } }, { $retainKeys: [] }])(
    "rejects %j",
    (patch) => {
      expect(refusal(() => strategicMergePatch({ status: { conditions } }, patch)).code).toBe(400);
    },
  );
});

describe("negotiateForm", () => {
  const metadata = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
  const metadataList = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

  test.each([
    [undefined, "object", "whole"],
    ["*/*", "list", "whole"],
    ["application/json", "object", "whole"],
    [metadata, "object", "metadata"],
    [metadataList, "list", "metadata"],
    [`application/vnd.kubernetes.protobuf, ${metadata}, application/json`, "object", "metadata"],
    ["application/json;as=Table;g=meta.k8s.io;v=v1, application/json", "list", "table"],
    ["application/json;as=Table;g=meta.k8s.io;v=v1", "object", "table"],
  ] as const)("Accept %s for %s gives the %s form", (accept, target, form) => {
    expect(negotiateForm(accept, target)).toBe(form);
  });

  test.each([
    [metadata, "list"],
    [metadataList, "object"],
    ["application/vnd.kubernetes.protobuf", "object"],
    ["application/json;as=Table;g=meta.k8s.io;v=v1beta1", "list"],
  ] as const)("rejects Accept %s for %s with 406", (accept, target) => {
    expect(refusal(() => negotiateForm(accept, target)).code).toBe(406);
  });
});

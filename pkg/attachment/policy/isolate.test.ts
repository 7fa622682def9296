import { expect, test } from "vitest";
import { runPlugin } from "../../cni/loop.ts";
import type { Plugin } from "../../cni/plugin.ts";
import { EMPTY_RESULT } from "../../cni/result.ts";
import { undoing } from "../../cni/undo.ts";
import { parseAddress } from "../../ip/address.ts";
import { FakeSystem } from "../../sys/fake.ts";
import { FakeFiles } from "../../sys/fake-files.ts";
import type { StreamScript } from "../../sys/fake-sockets.ts";
import type { NewPort } from "../before-up.ts";
import type { AttachContext } from "../interface-plugin.ts";
import { isolation } from "./isolate.ts";
import { networkPolicyOption } from "./option.ts";

const SOCKET = "/run/weft/policy.sock";
const POD = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1;K8S_POD_UID=0f3a";
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const line = (value: unknown) =>
  new TextEncoder().encode(`${typeof value === "string" ? value : JSON.stringify(value)}\n`);

/** A plugin whose ADD does nothing but isolate two addresses. */
const plugin: Plugin = {
  name: "bridge",
  about: "isolates",
  usesNamespace: false,
  add(request) {
    const addresses = ["10.244.1.7", "fd00:1::7"].map(parseAddress);
    const key = networkPolicyOption(request.config);
    undoing((undo) => {
      const actions = isolation(request, { plugin: "bridge", key, addresses }, undo);
      if (request.config.value("failsMeanwhile") === true) throw new Error("another step failed");
      for (const action of actions) action({} as AttachContext, {} as NewPort);
    });
    return EMPTY_RESULT;
  },
  del: () => undefined,
};

interface Case {
  readonly args?: string;
  /** Null: the configuration does not have the key. */
  readonly key?: object | null;
  readonly ipam?: object;
  readonly failsMeanwhile?: boolean;
  readonly server?: StreamScript;
  readonly options?: Partial<ConstructorParameters<typeof FakeSystem>[0]>;
}

function add({ args = POD, key = { socket: SOCKET, fail: "closed" }, ipam, failsMeanwhile, server, options }: Case) {
  const system = new FakeSystem({
    input: JSON.stringify({
      cniVersion: "1.1.0",
      name: "cbr0",
      type: "bridge",
      networkPolicy: key ?? undefined,
      ipam,
      failsMeanwhile,
    }),
    environment: {
      ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: "/run/netns/c1", CNI_IFNAME: "eth0" },
      ...{ CNI_PATH: "/opt/cni/bin", CNI_ARGS: args },
    },
    ...(server === undefined ? {} : { servers: { [SOCKET]: () => server } }),
    ...options,
  });
  const startMs = system.now();
  const status = runPlugin(plugin, system, {});
  expect(system.openCount).toBe(0);
  return { status, answer: JSON.parse(system.output), notices: system.errorOutput, tookMs: system.now() - startMs };
}

test("sends one line with the pod and its addresses of both families, and returns when they are installed", () => {
  const asked: string[] = [];
  const server: StreamScript = (data) => {
    asked.push(text(data));
    return [line({ is: "installed", isIsolated: true })];
  };
  expect(add({ server })).toMatchObject({ status: 0, notices: "" });
  expect(asked).toHaveLength(1);
  expect(asked[0]?.endsWith("}\n")).toBe(true);
  expect(JSON.parse(asked[0] ?? "")).toEqual({
    ...{ version: 1, pod: "shop/web-1", uid: "0f3a", containerId: "c1", ifName: "eth0" },
    addresses: ["10.244.1.7", "fd00:1::7"],
  });
});

test("a pod without a UID is named by namespace and name", () => {
  const asked: string[] = [];
  const server: StreamScript = (data) => {
    asked.push(text(data));
    return [line({ is: "installed", isIsolated: false })];
  };
  expect(add({ server, args: "K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web-1" }).status).toBe(0);
  expect(JSON.parse(asked[0] ?? "")).toMatchObject({ pod: "shop/web-1", uid: "" });
});

const NOT_KUBERNETES: readonly (readonly [string, Case])[] = [
  ["the configuration has no networkPolicy", { key: null }],
  ["CNI_ARGS is empty", { args: "" }],
  ["CNI_ARGS names no pod", { args: "SOMETHING=else;K8S_POD_NAMESPACE=shop" }],
];

test.each(NOT_KUBERNETES)("sends nothing if %s", (_name, bed) => {
  let sent = 0;
  const server: StreamScript = () => {
    sent++;
    return [];
  };
  expect(add({ ...bed, server })).toMatchObject({ status: 0, tookMs: 0 });
  expect(sent).toBe(0);
});

test("closes the connection if another step of ADD fails before the reply", () => {
  const { status, answer } = add({ server: () => [], failsMeanwhile: true });
  expect([status, answer.msg]).toEqual([1, expect.stringContaining("another step failed")]);
});

test("accepts a reply after `waiting`, in pieces and in one datagram", () => {
  const bytes = line({ is: "installed", isIsolated: true });
  const pieces = [line({ is: "waiting" }), bytes.slice(0, 5), bytes.slice(5)];
  expect(add({ server: () => pieces }).status).toBe(0);
  const joined = new Uint8Array([...line({ is: "waiting" }), ...bytes]);
  expect(add({ server: () => [joined] }).status).toBe(0);
});

test.each(["closed", "open"])("a refusal fails with code 11 and weftd's reason if fail is %s", (fail) => {
  const reason = "the API server has no pod shop/web-1 with UID 0f3a";
  const server = () => [line({ is: "waiting" }), line({ is: "failed", reason })];
  const { status, answer } = add({ server, key: { socket: SOCKET, fail } });
  expect([status, answer.code]).toEqual([1, 11]);
  expect(answer.msg).toContain(`pod shop/web-1: ${reason}`);
});

function withFile(path: string): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory("/run/weft");
  files.writeFile(path, new Uint8Array());
  return files;
}

const SILENT: readonly (readonly [string, Case, RegExp, number])[] = [
  ["there is no socket", {}, /does not run: the socket does not exist/, 0],
  ["no process listens", { options: { files: withFile(SOCKET) } }, /does not run: it left the socket behind/, 0],
  ["no connection is accepted", { options: { fullSockets: [SOCKET] } }, /accepts no connections/, 1000],
  ["weftd does not answer", { server: () => [] }, /not answered for 1000 ms/, 1000],
  ["weftd stays silent after `waiting`", { server: () => [line({ is: "waiting" })] }, /not answered for 3000 ms/, 3000],
  ["weftd closes the connection", { server: () => [new Uint8Array()] }, /closed the connection/, 0],
  ["weftd sends no JSON", { server: () => [line("hello")] }, /sent "hello" instead of a reply/, 0],
  ["weftd sends null", { server: () => [line("null")] }, /sent "null" instead of a reply/, 0],
  ["weftd sends another object", { server: () => [line({ is: "installed" })] }, /instead of a reply/, 0],
  ["weftd sends an endless line", { server: () => Array(20).fill(new Uint8Array(1000)) }, /more than 16384 bytes/, 0],
  ["weftd waits twice", { server: () => [line({ is: "waiting" }), line({ is: "waiting" })] }, /"waiting" twice/, 0],
];

test.each(SILENT)("closed fails with code 11 if %s", (_name, bed, reason, tookMs) => {
  const seen = add(bed);
  expect([seen.status, seen.answer.code, seen.tookMs]).toEqual([1, 11, tookMs]);
  expect(seen.answer.msg).toMatch(reason);
  expect(seen.answer.msg).toMatch(/pod shop\/web-1 over \/run\/weft\/policy\.sock.*--policy-fail=open/);
});

test.each(SILENT)("open attaches with a notice if %s", (_name, bed, reason, tookMs) => {
  const seen = add({ ...bed, key: { socket: SOCKET, fail: "open" } });
  expect([seen.status, seen.tookMs]).toEqual([0, tookMs]);
  expect(seen.notices).toMatch(/^bridge: pod shop\/web-1 is attached without its NetworkPolicies.*\n$/);
  expect(seen.notices).toMatch(reason);
});

test.each([
  ["no socket", { key: { fail: "open" } }, /networkPolicy\.socket/],
  ["a relative path", { key: { socket: "policy.sock" } }, /networkPolicy\.socket.*absolute/],
  ["an unknown fail", { key: { socket: SOCKET, fail: "maybe" } }, /networkPolicy\.fail.*closed, open/],
  ["dhcp", { ipam: { type: "dhcp" } }, /networkPolicy.*before the interface comes up/],
])("refuses %s with code 7", (_name, bed, message) => {
  const { status, answer } = add(bed);
  expect([status, answer.code]).toEqual([1, 7]);
  expect(answer.msg).toMatch(message);
});

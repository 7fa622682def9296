import { describe, expect, test } from "vitest";
import { parsePrefix } from "../ip/prefix.ts";
import { SystemError } from "../sys/errors.ts";
import { FakeSystem, type Program } from "../sys/fake.ts";
import { FakeFiles } from "../sys/fake-files.ts";
import { delegateAdd, delegateCheck, delegateDel, delegateGc, delegateStatus, findPlugin } from "./delegate.ts";
import { runPlugin } from "./loop.ts";
import type { CniRequest, Plugin } from "./plugin.ts";
import { EMPTY_RESULT, encodeResult, type Result } from "./result.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

const result: Result = { ...EMPTY_RESULT, ips: [{ address: parsePrefix("10.0.0.2/24") }] };

/** Passes every verb on to "inner". */
const outer: Plugin = {
  name: "outer",
  about: "",
  add: (request) => delegateAdd(request, "inner"),
  del: (request) => delegateDel(request, "inner"),
  check: (request) => delegateCheck(request, "inner"),
  status: (request) => delegateStatus(request, "inner"),
  gc: (request) => delegateGc(request, "inner"),
};

function machine(innerIsOwnFile: boolean): FakeFiles {
  const files = new FakeFiles();
  files.makeDirectory("/opt/cni/bin");
  files.writeFile("/opt/cni/bin/weft", bytes("elf"));
  if (innerIsOwnFile) files.link("/opt/cni/bin/weft", "/opt/cni/bin/inner");
  else files.writeFile("/opt/cni/bin/inner", bytes("elf"));
  return files;
}

function call(verb: string, options: { program?: Program; inner?: Plugin; files?: FakeFiles; path?: string }) {
  const config = JSON.stringify({ cniVersion: "1.1.0", name: "net", ipam: { type: "inner" } });
  const environment = {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: "c1",
    CNI_NETNS: "/run/netns/a",
    CNI_IFNAME: "eth0",
    CNI_PATH: options.path ?? "/nowhere:/opt/cni/bin",
    TRACEPARENT: "00-1",
  };
  const system = new FakeSystem({
    environment,
    input: config,
    files: options.files ?? machine(options.inner !== undefined),
    namespaces: { "/run/netns/a": "4:1" },
    programs: options.program ? { "/opt/cni/bin/inner": options.program } : {},
  });
  const status = runPlugin(outer, system, options.inner ? { inner: options.inner } : {});
  return { status, system, config, answer: system.output === "" ? undefined : JSON.parse(system.output) };
}

describe("a delegate in another file", () => {
  test("is executed with the same environment and input, and its result is returned", () => {
    const program: Program = () => ({ output: bytes(JSON.stringify(encodeResult(result, "1.1.0"))) });
    const { status, system, config, answer } = call("ADD", { program });
    expect([status, answer]).toEqual([0, { cniVersion: "1.1.0", ips: [{ address: "10.0.0.2/24" }] }]);
    expect(system.executed).toEqual([
      { path: "/opt/cni/bin/inner", options: { environment: system.environment, input: bytes(config) } },
    ]);
  });

  test.each(["DEL", "CHECK", "STATUS", "GC"])("is executed for %s, and its output is ignored", (verb) => {
    const { status, system } = call(verb, { program: () => ({ output: bytes("chatter") }) });
    expect([status, system.output]).toEqual([0, ""]);
    expect(system.executed.map(({ options }) => options.environment.CNI_COMMAND)).toEqual([verb]);
  });

  test.each([
    ["an error object", { status: 1, output: bytes('{"code":11,"msg":"later","details":"d"}') }, 11, "later"],
    ["standard error only", { status: 2, errorOutput: bytes("panic: oops\n") }, 999, "status 2: panic: oops"],
    ["output that is not JSON", { status: 1, output: bytes("sorry") }, 999, "exit status 1: sorry"],
    ["JSON that is not an error object", { status: 1, output: bytes('{"x":1}') }, 999, 'exit status 1: {"x":1}'],
    ["no output", { status: 137 }, 999, "status 137: it printed nothing"],
    ["success without a result", { status: 0 }, 6, "expected a result on its standard output"],
    ["success with a broken result", { status: 0, output: bytes("{") }, 6, "ADD of inner"],
    ["success with a bad result", { status: 0, output: bytes('{"ips":[{"address":"x"}]}') }, 6, "ips[0].address"],
  ])("that returns %s from ADD is an error", (_, answerOfInner, code, message) => {
    const { status, answer } = call("ADD", { program: () => answerOfInner });
    expect(status).toBe(1);
    expect(answer).toMatchObject({ code, msg: expect.stringContaining(message) });
  });

  test("that is being replaced is retried", () => {
    let busy = 3;
    const program: Program = () => {
      if (busy-- > 0) throw new SystemError("execve", "inner", 26);
      return {};
    };
    expect(call("DEL", { program }).status).toBe(0);
    busy = 100;
    expect(call("DEL", { program }).answer).toMatchObject({ code: 5, msg: expect.stringContaining("ETXTBSY") });
  });

  test("that cannot be started is code 5", () => {
    expect(call("ADD", {}).answer).toMatchObject({ code: 5, msg: expect.stringContaining("/opt/cni/bin/inner") });
  });
});

describe("a delegate in the running executable", () => {
  const asked: { verb: string; request: CniRequest }[] = [];
  const note = (verb: string) => (request: CniRequest) => {
    asked.push({ verb, request });
  };
  const inner: Plugin = {
    name: "inner",
    about: "",
    add: (request) => {
      note("ADD")(request);
      return result;
    },
    del: note("DEL"),
    check: note("CHECK"),
    status: note("STATUS"),
    gc: note("GC"),
  };

  test.each(["ADD", "DEL", "CHECK", "STATUS", "GC"])("is called within the process for %s", (verb) => {
    asked.length = 0;
    const { status, system } = call(verb, { inner });
    expect([status, system.executed]).toEqual([0, []]);
    expect(asked.map((entry) => entry.verb)).toEqual([verb]);
    expect(asked[0]?.request).toMatchObject({
      network: "net",
      containerId: verb === "STATUS" || verb === "GC" ? "" : "c1",
    });
  });

  test("that does not support the version fails as an executed one would", () => {
    expect(call("ADD", { inner: { ...inner, versions: ["1.0.0"] } }).answer).toMatchObject({ code: 1 });
  });

  test("is executed if another file is found or if it is not in the table", () => {
    const program: Program = () => ({});
    expect(call("DEL", { inner, files: machine(false), program }).system.executed).toHaveLength(1);
    expect(call("DEL", { files: machine(true), program }).system.executed).toHaveLength(1);
  });
});

describe("a delegate that is missing", () => {
  test("is named in the error together with CNI_PATH", () => {
    const { answer } = call("ADD", { path: "/nowhere" });
    expect(answer).toMatchObject({
      code: 7,
      msg: expect.stringContaining('failed to find plugin "inner" in path [/nowhere]'),
    });
  });

  test("makes STATUS fail with code 50", () => {
    expect(call("STATUS", { path: "/nowhere" }).answer).toMatchObject({ code: 50 });
  });

  test.each(["", "..", "a/b", "/bin/sh"])("called %j is refused", (type) => {
    expect(() => findPlugin(type, ["/opt/cni/bin"], new FakeSystem())).toThrow("is not a plugin name");
  });

  test("is not found as a directory of that name", () => {
    const system = new FakeSystem();
    system.makeDirectory("/a/inner");
    system.makeDirectory("/b");
    system.writeFile("/b/inner", bytes(""));
    expect(findPlugin("inner", ["/a", "/b"], system)).toBe("/b/inner");
  });
});

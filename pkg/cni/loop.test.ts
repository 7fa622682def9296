import { describe, expect, test } from "vitest";
import { SystemError } from "../sys/errors.ts";
import { type FakeOptions, FakeSystem, OWN_NAMESPACE } from "../sys/fake.ts";
import { CniError } from "./errors.ts";
import { runPlugin } from "./loop.ts";
import type { CniRequest, Plugin } from "./plugin.ts";
import { EMPTY_RESULT } from "./result.ts";
import { VERSIONS } from "./versions.ts";

const NETNS = "/run/netns/a";
const environment = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: NETNS,
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin",
};

/** Records its calls. */
class Recorder implements Plugin {
  readonly name = "recorder";
  readonly about = "records its calls";
  readonly asked: { verb: string; request: CniRequest }[] = [];
  fail: (() => never) | undefined;

  #note(verb: string, request: CniRequest): void {
    this.asked.push({ verb, request });
    this.fail?.();
  }

  add(request: CniRequest) {
    this.#note("ADD", request);
    return EMPTY_RESULT;
  }
  del = (request: CniRequest): void => this.#note("DEL", request);
  check = (request: CniRequest): void => this.#note("CHECK", request);
  status = (request: CniRequest): void => this.#note("STATUS", request);
  gc = (request: CniRequest): void => this.#note("GC", request);
}

interface Outcome {
  readonly status: number;
  readonly output: string;
  readonly verbs: string[];
  readonly system: FakeSystem;
}

function run(
  variables: Record<string, string>,
  config: object | string,
  plugin: Plugin,
  more: FakeOptions = {},
): Outcome {
  const system = new FakeSystem({
    environment: { ...environment, ...variables },
    input: typeof config === "string" ? config : JSON.stringify(config),
    namespaces: { [NETNS]: "4:1", "/proc/self/ns/net": OWN_NAMESPACE },
    ...more,
  });
  const status = runPlugin(plugin, system);
  expect(system.openCount).toBe(0);
  const verbs = plugin instanceof Recorder ? plugin.asked.map(({ verb }) => verb) : [];
  return { status, output: system.output, verbs, system };
}

const config = { cniVersion: "1.1.0", name: "net" };

describe("a verb", () => {
  test.each([
    ["ADD", "0.1.0"],
    ["DEL", "0.1.0"],
    ["CHECK", "0.4.0"],
    ["STATUS", "1.1.0"],
    ["GC", "1.1.0"],
  ])("%s is served since CNI %s and refused with code 1 in older versions", (CNI_COMMAND, since) => {
    for (const cniVersion of VERSIONS.slice(2)) {
      const { status, output, verbs } = run({ CNI_COMMAND }, { ...config, cniVersion }, new Recorder());
      const isServed = VERSIONS.indexOf(cniVersion) >= (VERSIONS as readonly string[]).indexOf(since);
      expect([status, verbs]).toEqual(isServed ? [0, [CNI_COMMAND]] : [1, []]);
      if (!isServed) expect(JSON.parse(output)).toMatchObject({ cniVersion, code: 1 });
    }
  });

  test("ADD prints its result in the configuration's version, other verbs print nothing", () => {
    expect(JSON.parse(run({}, { ...config, cniVersion: "0.3.1" }, new Recorder()).output)).toEqual({
      ...{ cniVersion: "0.3.1", dns: {} },
    });
    expect(run({ CNI_COMMAND: "DEL" }, config, new Recorder()).output).toBe("");
    expect(run({ CNI_COMMAND: "STATUS" }, config, new Recorder()).output).toBe("");
  });

  test("VERSION reads no input", () => {
    const { status, output } = run({ CNI_COMMAND: "VERSION", CNI_PATH: "" }, "not read", new Recorder());
    expect(status).toBe(0);
    expect(JSON.parse(output)).toEqual({ cniVersion: "1.1.0", supportedVersions: VERSIONS });
  });

  test("if absent, prints a description on standard error", () => {
    const { status, output, system } = run({ CNI_COMMAND: "" }, "", new Recorder());
    expect([status, output]).toEqual([0, ""]);
    expect(system.errorOutput).toContain("recorder: records its calls\n");
    expect(system.errorOutput).toContain("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
  });

  test("that a plugin does not implement succeeds", () => {
    const plugin: Plugin = { name: "small", about: "", add: () => EMPTY_RESULT, del: () => {} };
    for (const CNI_COMMAND of ["CHECK", "STATUS", "GC"]) expect(run({ CNI_COMMAND }, config, plugin).status).toBe(0);
  });

  test("is refused with code 1 in a version that the plugin does not support", () => {
    const plugin: Plugin = { name: "new", about: "", versions: ["1.1.0"], add: () => EMPTY_RESULT, del: () => {} };
    const { status, output } = run({}, { ...config, cniVersion: "1.0.0" }, plugin);
    expect(status).toBe(1);
    expect(JSON.parse(output)).toMatchObject({
      code: 1,
      msg: 'incompatible CNI versions: cniVersion is "1.0.0", new supports 1.1.0',
    });
  });
});

test("an ADD whose result the version cannot represent is undone by DEL", () => {
  const plugin = new Recorder();
  const { status, output, verbs } = run({}, { cniVersion: "0.2.0", name: "net" }, plugin);
  expect([status, verbs]).toEqual([1, ["ADD", "DEL"]]);
  expect(JSON.parse(output)).toMatchObject({ code: 1 });
});

describe("invalid input prints one error object with exit status 1, before any work", () => {
  test.each([
    ["an unknown verb", { CNI_COMMAND: "FROB" }, config, 4, "CNI_COMMAND"],
    ["missing variables", { CNI_CONTAINERID: "", CNI_PATH: "" }, config, 4, "CNI_CONTAINERID, CNI_PATH"],
    ["broken JSON", {}, '{"name": "net" "x"}', 6, "line 1, column 16"],
    ["no network name", {}, { cniVersion: "1.1.0" }, 7, "name"],
    ["an unknown version", {}, { ...config, cniVersion: "7.0.0" }, 1, "7.0.0"],
    ["a namespace that is absent", { CNI_NETNS: "/run/netns/gone" }, config, 4, "CNI_NETNS"],
    ["the plugin's own namespace as CNI_NETNS", { CNI_NETNS: "/proc/self/ns/net" }, config, 8, "CNI_NETNS"],
  ])("%s", (_, variables, input, code, message) => {
    const { status, output, verbs } = run(variables, input, new Recorder());
    expect([status, verbs]).toEqual([1, []]);
    expect(JSON.parse(output)).toMatchObject({ code, msg: expect.stringContaining(message) });
  });

  test("an input that cannot be read is code 5", () => {
    const system = new FakeSystem({ environment });
    system.readInput = () => {
      throw new SystemError("read", "standard input", 5);
    };
    expect(runPlugin(new Recorder(), system)).toBe(1);
    expect(JSON.parse(system.output)).toMatchObject({ code: 5 });
  });
});

describe("the container's namespace", () => {
  const plainFile = (path: string) => {
    const system = new FakeSystem();
    system.makeDirectory("/run/netns");
    system.writeFile(path, new Uint8Array());
    return { files: system.files };
  };

  test("is opened for the plugin and closed afterwards", () => {
    const plugin = new Recorder();
    run({}, config, plugin);
    expect(plugin.asked[0]?.request.namespace?.identity).toBe("4:1");
    expect(plugin.asked[0]?.request.requireNamespace().path).toBe(NETNS);
  });

  test("counts as gone for DEL if it is the plugin's own", () => {
    const plugin = new Recorder();
    const { status, verbs } = run({ CNI_COMMAND: "DEL", CNI_NETNS: "/proc/self/ns/net" }, config, plugin);
    expect([status, verbs]).toEqual([0, ["DEL"]]);
    expect(plugin.asked[0]?.request.namespace).toBeUndefined();
    expect(plugin.asked[0]?.request.netnsPath).toBe("");
  });

  test("may be the plugin's own if CNI_NETNS_OVERRIDE allows it", () => {
    const own = { CNI_NETNS: "/proc/self/ns/net", CNI_NETNS_OVERRIDE: "1" };
    expect(run(own, config, new Recorder()).verbs).toEqual(["ADD"]);
  });

  test("is code 4 if it is a plain file, and counts as gone for DEL", () => {
    const file = { CNI_NETNS: "/run/netns/plain" };
    const add = run(file, config, new Recorder(), plainFile("/run/netns/plain"));
    expect([add.status, add.verbs]).toEqual([1, []]);
    expect(JSON.parse(add.output)).toMatchObject({
      code: 4,
      msg: expect.stringContaining("is not a network namespace"),
    });
    const plugin = new Recorder();
    expect(run({ ...file, CNI_COMMAND: "DEL" }, config, plugin, plainFile("/run/netns/plain")).status).toBe(0);
    expect(plugin.asked[0]?.request.namespace).toBeUndefined();
    expect(() => plugin.asked[0]?.request.requireNamespace()).toThrow("CNI_NETNS");
  });

  test.each(["", "/run/netns/gone"])("%j counts as gone for DEL", (CNI_NETNS) => {
    expect(run({ CNI_COMMAND: "DEL", CNI_NETNS }, config, new Recorder()).verbs).toEqual(["DEL"]);
  });

  test("need not exist if the plugin never enters it", () => {
    const plugin: Plugin = { name: "ipam", about: "", usesNamespace: false, add: () => EMPTY_RESULT, del: () => {} };
    expect(run({ CNI_NETNS: "/run/netns/gone" }, config, plugin).status).toBe(0);
    expect(run({ CNI_NETNS: "/proc/self/ns/net" }, config, plugin).status).toBe(1);
  });
});

describe("an error that a plugin throws", () => {
  function thrown(error: unknown): unknown {
    const plugin = new Recorder();
    plugin.fail = () => {
      throw error;
    };
    const { status, output } = run({}, { ...config, cniVersion: "0.4.0" }, plugin);
    expect(status).toBe(1);
    return JSON.parse(output);
  }

  test("is printed with its code, message and details, in the configuration's version", () => {
    expect(thrown(new CniError(11, "later", { details: "much" }))).toEqual({
      cniVersion: "0.4.0",
      code: 11,
      msg: "later",
      details: "much",
    });
    expect(thrown(new CniError(7, "bad"))).toEqual({ cniVersion: "0.4.0", code: 7, msg: "bad" });
  });

  test("is code 999 if it is unexpected", () => {
    expect(thrown(new TypeError("x is not a function"))).toMatchObject({ code: 999, msg: "x is not a function" });
    expect(thrown("text")).toMatchObject({ code: 999, msg: "text" });
  });
});

describe("a request", () => {
  const ask = (values: object): CniRequest => {
    const plugin = new Recorder();
    run({}, { ...config, ...values }, plugin);
    return plugin.asked[0]?.request as CniRequest;
  };

  test("has the previous result in the newest format", () => {
    const prevResult = { cniVersion: "0.3.1", ips: [{ version: "4", address: "10.0.0.2/24" }] };
    expect(ask({ prevResult }).prevResult?.ips[0]?.address.length).toBe(24);
    expect(ask({ prevResult }).requirePrevResult().ips).toHaveLength(1);
    expect(ask({}).prevResult).toBeUndefined();
    expect(() => ask({}).requirePrevResult()).toThrow(expect.objectContaining({ code: 7 }));
  });

  test("with an invalid previous result fails only when the plugin reads it", () => {
    const request = ask({ prevResult: { ips: [{ address: "x" }] } });
    expect(() => request.prevResult).toThrow("prevResult.ips[0].address");
  });

  test("has runtimeConfig and args.cni, empty when absent", () => {
    expect(ask({ runtimeConfig: { mac: "0a:58:0a:f4:00:02" } }).runtimeConfig.optionalMac("mac")).toBe(
      "0a:58:0a:f4:00:02",
    );
    expect(ask({ args: { cni: { ips: ["10.0.0.5"] } } }).configArgs.stringList("ips")).toEqual(["10.0.0.5"]);
    expect(ask({}).configArgs.has("ips")).toBe(false);
  });
});

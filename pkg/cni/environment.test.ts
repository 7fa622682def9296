import { describe, expect, test } from "vitest";
import { readEnvironment } from "./environment.ts";

const complete = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "c1",
  CNI_NETNS: "/run/netns/a",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin:/usr/lib/cni",
};

const refused = (code: number, message: string) =>
  expect.objectContaining({ code, message: expect.stringContaining(message) });

describe("the environment", () => {
  test("of an ADD is parsed", () => {
    expect(readEnvironment(complete)).toMatchObject({
      verb: "ADD",
      containerId: "c1",
      netnsPath: "/run/netns/a",
      ifName: "eth0",
      path: ["/opt/cni/bin", "/usr/lib/cni"],
      isOwnNamespaceAllowed: false,
    });
  });

  test.each([
    ["ADD", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"],
    ["CHECK", "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH"],
    ["DEL", "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH"],
    ["STATUS", "CNI_PATH"],
    ["GC", "CNI_PATH"],
  ])("of %s must have %s, and the error names all missing variables", (CNI_COMMAND, names) => {
    expect(() => readEnvironment({ CNI_COMMAND, CNI_NETNS: "" })).toThrow(refused(4, ` ${names}: missing or empty`));
  });

  test("of STATUS may have empty variables, as containerd sends them", () => {
    const empty = { CNI_CONTAINERID: "", CNI_IFNAME: "", CNI_NETNS: "", CNI_ARGS: "" };
    expect(readEnvironment({ ...empty, CNI_COMMAND: "STATUS", CNI_PATH: "/p" }).containerId).toBe("");
  });

  test.each(["add", "UPDATE", "constructor", "ADD "])("with command %j is refused", (CNI_COMMAND) => {
    expect(() => readEnvironment({ ...complete, CNI_COMMAND })).toThrow(
      refused(4, `unknown CNI_COMMAND: "${CNI_COMMAND}"`),
    );
  });

  test.each(["-c", ".c", "a/b", "a b", "../x", "ä"])("with container id %j is refused", (CNI_CONTAINERID) => {
    expect(() => readEnvironment({ ...complete, CNI_CONTAINERID })).toThrow(refused(4, "CNI_CONTAINERID"));
  });

  test.each([".", "..", "a/b", "eth0:1", "a b", "a\tb", "sixteen-bytes-xx", "ääääääää"])(
    "with interface name %j is refused",
    (CNI_IFNAME) => {
      expect(() => readEnvironment({ ...complete, CNI_IFNAME })).toThrow(refused(4, "CNI_IFNAME"));
    },
  );

  test.each(["lo", "eth0.100", "fifteen-bytes-x", "..."])("with interface name %j is accepted", (CNI_IFNAME) => {
    expect(readEnvironment({ ...complete, CNI_IFNAME }).ifName).toBe(CNI_IFNAME);
  });

  test.each([
    ["1", true],
    ["true", true],
    ["TRUE", true],
    ["0", false],
    ["yes", false],
    ["", false],
  ])("CNI_NETNS_OVERRIDE=%s allows the plugin's own namespace: %s", (CNI_NETNS_OVERRIDE, allowed) => {
    expect(readEnvironment({ ...complete, CNI_NETNS_OVERRIDE }).isOwnNamespaceAllowed).toBe(allowed);
  });
});

describe("CNI_ARGS", () => {
  const args = (CNI_ARGS: string) => readEnvironment({ ...complete, CNI_ARGS }).args;

  test("returns the values of known keys", () => {
    expect(args("IP=10.0.0.5;MAC=aa").read("IP", "MAC").get("IP")).toBe("10.0.0.5");
    expect(args("").read("IP").get("IP")).toBeUndefined();
    expect(args("K=a=b;").read("K").get("K")).toBe("a=b");
  });

  test("with an unknown key is refused unless IgnoreUnknown is set", () => {
    expect(() => args("IP=10.0.0.5;K8S_POD_NAME=p1").read("IP")).toThrow(refused(4, "unknown K8S_POD_NAME"));
    expect(args("K8S_POD_NAME=p1;IgnoreUnknown=1;IP=10.0.0.5").read("IP").get("IP")).toBe("10.0.0.5");
    expect(args("K8S_POD_NAME=p1;IgnoreUnknown=true").read("IP").get("IP")).toBeUndefined();
    expect(() => args("X=1;IgnoreUnknown=0").read("IP")).toThrow("unknown X");
  });

  test.each(["IP", "=x", "IP=1;MAC"])("%j is refused when a plugin reads it", (text) => {
    const parsed = args(text);
    expect(() => parsed.read("IP", "MAC")).toThrow(refused(4, "CNI_ARGS: expected KEY=value pairs"));
  });
});

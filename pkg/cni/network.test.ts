import { describe, expect, test } from "vitest";
import { ConfigObject } from "./config.ts";
import { parseNetworkConfig, readValidAttachments } from "./network.ts";

const parse = (text: string) => parseNetworkConfig(new TextEncoder().encode(text));

describe("a network configuration", () => {
  test("has a name and a version", () => {
    expect(parse('{"cniVersion":"1.1.0","name":"cbr0"}')).toMatchObject({ name: "cbr0", version: "1.1.0" });
    expect(parse('{"CNIVersion":"1.0.0","Name":"my.net-1_x"}')).toMatchObject({ name: "my.net-1_x", version: "1.0.0" });
  });

  test("without a version has version 0.1.0", () => {
    expect(parse('{"name":"n"}').version).toBe("0.1.0");
    expect(parse('{"name":"n","cniVersion":""}').version).toBe("0.1.0");
  });

  test.each([
    ["", 6, "line 1, column 1"],
    ['{"name": "n",', 6, "line 1, column 14"],
    ["[]", 6, "expected a JSON object"],
    ["null", 6, "expected a JSON object"],
    ["{}", 7, "name: expected a network name"],
    ['{"name":""}', 7, 'got ""'],
    ['{"name":"../x"}', 7, 'got "../x"'],
    ['{"name":".x"}', 7, "beginning with a letter or digit"],
    ['{"name":"a b"}', 7, 'got "a b"'],
    ['{"name":3}', 7, "got 3"],
    ['{"name":"n","cniVersion":1}', 7, "cniVersion: expected a string"],
    ['{"name":"n","cniVersion":"0.9.0"}', 1, '"0.9.0"'],
    ['{"name":"n","cniVersion":"toString"}', 1, '"toString"'],
  ])("refuses %j with code %i", (text, code, message) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
  });
});

describe("the list of valid attachments for GC", () => {
  const read = (values: Record<string, unknown>) => readValidAttachments(new ConfigObject(values));
  const entry = { containerID: "c1", ifname: "eth0" };

  test("is read from the specification's key or the older one", () => {
    expect(read({ "cni.dev/valid-attachments": [entry], "cni.dev/attachments": [] })).toEqual([
      { containerId: "c1", ifName: "eth0" },
    ]);
    expect(read({ "cni.dev/attachments": [entry] })).toHaveLength(1);
  });

  test("may be empty, but must not be absent", () => {
    expect(read({ "cni.dev/valid-attachments": [] })).toEqual([]);
    expect(read({ "cni.dev/valid-attachments": null })).toEqual([]);
    expect(() => read({})).toThrow("cni.dev/valid-attachments: expected the list of attachments to keep");
  });

  test("is refused if an entry is incomplete", () => {
    expect(() => read({ "cni.dev/valid-attachments": [{ containerID: "c1" }] })).toThrow(
      "cni.dev/valid-attachments[0].ifname",
    );
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeBase64, parseCachedAttachment } from "./cached.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const network = {
  name: "net",
  plugins: [{ type: "bridge" }, { type: "portmap", capabilities: { portMappings: true } }],
};
const cached = {
  ...{ kind: "cniCacheV1", containerId: "c1", ifName: "eth0", networkName: "net" },
  ...{
    config: Buffer.from(JSON.stringify(network)).toString("base64"),
    capabilityArgs: { portMappings: [1], mac: "x" },
  },
  result: { cniVersion: "1.0.0", ips: [{ address: "10.22.0.2/24" }] },
};

test("gives a plugin the capabilities that it declares", () => {
  const attachment = parseCachedAttachment(encode(cached));
  expect(attachment).toMatchObject({ network: "net", containerId: "c1", ifName: "eth0" });
  expect(attachment?.plugins.map((plugin) => plugin.value("runtimeConfig"))).toEqual([{}, { portMappings: [1] }]);
  expect(attachment?.result.ips).toHaveLength(1);
});

test.each([[{}], [{ ...cached, config: "?" }], [{ ...cached, config: "e30" }], [{ ...cached, containerId: 1 }], [[]]])(
  "returns undefined for %j",
  (value) => {
    expect(parseCachedAttachment(encode(value))).toBeUndefined();
  },
);

test("decodes any bytes from base64", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(decodeBase64(Buffer.from(bytes).toString("base64"))).toEqual(bytes);
    }),
  );
});

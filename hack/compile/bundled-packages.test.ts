import { expect, test } from "vitest";
import { bundledPackages } from "./bundled-packages.ts";

const bundle = (inputs: Readonly<Record<string, number>>) => ({
  outputs: {
    "out.js": {
      bytes: 0,
      imports: [],
      exports: [],
      inputs: Object.fromEntries(Object.entries(inputs).map(([file, bytesInOutput]) => [file, { bytesInOutput }])),
    },
  },
});

test("lists each package once by its folder, without our own files", () => {
  const inputs = {
    "pkg/ip/subnet.ts": 10,
    "node_modules/ip-address/dist/ipv4.js": 5,
    "node_modules/ip-address/dist/ipv6.js": 5,
    "node_modules/@kubernetes/client-node/dist/config.js": 1,
    "node_modules/a/node_modules/b/index.js": 1,
  };
  expect(bundledPackages(bundle(inputs))).toEqual([
    "node_modules/@kubernetes/client-node",
    "node_modules/a/node_modules/b",
    "node_modules/ip-address",
  ]);
});

test("skips packages without code in the output", () => {
  expect(bundledPackages(bundle({ "node_modules/rfc4648/lib/index.js": 0 }))).toEqual([]);
});

import { expect, test } from "vitest";
import type { Link } from "../../kernel/link.ts";
import { deriveMac } from "../derived-mac.ts";
import { knownVteps } from "./overlay.ts";

const link = {
  ...{ kind: "vxlan", name: "flannel.1", alias: "", mac: "0a:00:00:00:00:66" },
  vxlan: { vni: 1, port: 8472 },
} as Link;

test("the announced hardware address takes precedence over the device's current one", () => {
  const remembered = new Map([["flannel.1", "0a:00:00:00:00:01"]]);
  const device = { vni: 1, port: 8472, family: 4, isOurs: false };
  expect(knownVteps([link], new Map())).toEqual([{ name: "flannel.1", mac: "0a:00:00:00:00:66", device }]);
  expect(knownVteps([link], remembered)).toEqual([{ name: "flannel.1", mac: "0a:00:00:00:00:01", device }]);
  expect(knownVteps([], remembered)).toEqual([{ name: "flannel.1", mac: "0a:00:00:00:00:01", device: undefined }]);
});

test("ignores another program's device of any kind", () => {
  expect(knownVteps([{ ...link, kind: "bridge" }], new Map())).toEqual([]);
  expect(knownVteps([{ ...link, name: "vxlan.calico" }], new Map())).toEqual([]);
  expect(knownVteps([{ ...link, name: "weft.1", alias: "weft:vtep" }], new Map())).toHaveLength(1);
});

test("a derived hardware address is unicast, locally administered and depends only on the names", () => {
  const mac = deriveMac("n1", "flannel.1");
  expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
  expect(deriveMac("n1", "flannel.1")).toBe(mac);
  const others = Array.from({ length: 2000 }, (_, number) => deriveMac(`n${number + 2}`, "flannel.1"));
  expect(new Set([mac, ...others]).size).toBe(2001);
});

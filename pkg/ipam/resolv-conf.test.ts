import { expect, test } from "vitest";
import { parseResolvConf } from "./resolv-conf.ts";

test("parses a resolver's configuration and skips comments and unknown keywords", () => {
  const text = `# comment
; another
nameserver 10.0.0.10
nameserver\tfd00::10
domain cluster.local
search a.example  b.example
options ndots:5 edns0
sortlist 130.155.160.0
nameserver
`;
  expect(parseResolvConf(text)).toEqual({
    nameservers: ["10.0.0.10", "fd00::10"],
    domain: "cluster.local",
    search: ["a.example", "b.example"],
    options: ["ndots:5", "edns0"],
  });
});

test("parses an empty file to empty settings", () => {
  expect(parseResolvConf("")).toEqual({ nameservers: [], search: [], options: [] });
});

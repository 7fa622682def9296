import { expect, test } from "vitest";
import { parseResolvConf } from "./resolv-conf.ts";

test("a resolver's configuration is read, past comments and what it does not know", () => {
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

test("an empty one has nothing to say", () => {
  expect(parseResolvConf("")).toEqual({ nameservers: [], search: [], options: [] });
});

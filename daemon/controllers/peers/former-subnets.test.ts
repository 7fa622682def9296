import { expect, test } from "vitest";
import { formatPrefix, type Prefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import { FormerSubnets, LINGER_MS } from "./former-subnets.ts";

const [one, two, three] = ["10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"].map(parseSubnet) as [
  ...[Prefix, Prefix, Prefix],
];
const texts = (former: FormerSubnets) => former.all.map(formatPrefix);

test("a lost subnet becomes a former one, and a regained subnet stops being one", () => {
  const former = new FormerSubnets([]);
  former.serves([one]);
  expect(texts(former)).toEqual([]);
  former.serves([two]);
  expect(texts(former)).toEqual(["10.244.1.0/24"]);
  former.serves([one]);
  expect(texts(former)).toEqual(["10.244.2.0/24"]);
});

test("a subnet of an earlier weftd is a former one unless the node still has it", () => {
  const former = new FormerSubnets([one, two]);
  former.serves([two]);
  expect(texts(former)).toEqual(["10.244.1.0/24"]);
});

test("a former subnet without pods expires, one with pods does not, and one that a pass has found is kept", () => {
  const former = new FormerSubnets([one]);
  former.serves([two]);
  const isUsed = (subnet: unknown) => subnet === three;
  former.seen([one, three], isUsed, 0);
  expect(texts(former)).toEqual(["10.244.1.0/24", "10.244.3.0/24"]);
  former.seen([one, three], isUsed, LINGER_MS - 1);
  expect(texts(former)).toHaveLength(2);
  // A pod of an ADD that was running restarts the time.
  former.seen([one, three], () => true, LINGER_MS - 1);
  former.seen([one, three], isUsed, LINGER_MS);
  expect(texts(former)).toHaveLength(2);
  former.seen([one, three], isUsed, 2 * LINGER_MS);
  expect(texts(former)).toEqual(["10.244.3.0/24"]);
});

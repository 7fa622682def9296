import { expect, test } from "vitest";
import { NFPROTO } from "../../pkg/netlink/nftables.ts";
import { closingText } from "./loopback.ts";
import { leftBehind, planServices } from "./services.ts";

const SERVICES = { family: NFPROTO.inet, table: "weft-services" };
const OTHERS = [
  { family: NFPROTO.inet, table: "weft" },
  { family: NFPROTO.inet, table: "weft_portmap" },
  { family: NFPROTO.ip, table: "weft-services" },
  { family: NFPROTO.ip, table: "kube-proxy" },
];

test("removes only the table of Services", () => {
  expect(planServices({ tables: [...OTHERS, SERVICES] }).requests.map(({ text }) => text)).toEqual([
    "nft delete table inet weft-services",
  ]);
  expect(planServices({ tables: OTHERS }).requests).toEqual([]);
});

test("removes the guard of 127.0.0.1, too, after the setting that it protects", () => {
  const guard = { family: NFPROTO.inet, table: "weft-localhost" };
  expect(planServices({ tables: [guard, SERVICES] }).requests.map(({ text }) => text)).toEqual([
    "nft delete table inet weft-localhost",
    "nft delete table inet weft-services",
  ]);
  expect(closingText([guard, SERVICES])).toEqual(["sysctl -w net.ipv4.conf.all.route_localnet=0"]);
  expect(closingText([SERVICES])).toEqual([]);
});

test("reports whether another program serves Services", () => {
  const proxy = ["table ip kube-proxy (61 chains)"];
  expect(leftBehind({ tables: [SERVICES], proxy })[0]).toBe("kube-proxy's rules: table ip kube-proxy (61 chains)");
  expect(leftBehind({ tables: [SERVICES], proxy: [] })[0]).toMatch(
    /^no rules of kube-proxy: .* new connections to Services fail/,
  );
  expect(leftBehind({ tables: OTHERS, proxy })).toEqual([]);
});

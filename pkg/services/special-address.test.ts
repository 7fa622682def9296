import { expect, test } from "vitest";
import { parseAddress } from "../ip/address.ts";
import { specialKind } from "./special-address.ts";

test.each([
  ["0.0.0.0", "unspecified"],
  ["127.0.0.1", "loopback"],
  ["127.255.255.255", "loopback"],
  ["169.254.169.254", "link-local"],
  ["224.0.0.1", "multicast"],
  ["239.255.255.255", "multicast"],
  ["255.255.255.255", "broadcast"],
  ["::", "unspecified"],
  ["::1", "loopback"],
  ["fe80::1", "link-local"],
  ["febf::1", "link-local"],
  ["ff02::1", "multicast"],
])("%s is %s", (text, kind) => {
  expect(specialKind(parseAddress(text))).toBe(kind);
});

test.each([
  "0.0.0.1",
  "10.0.0.1",
  "126.255.255.255",
  "128.0.0.0",
  "169.253.255.255",
  "169.255.0.0",
  "240.0.0.1",
  "::2",
])("%s is an ordinary address", (text) => {
  expect(specialKind(parseAddress(text))).toBeUndefined();
});

test.each(["fec0::1", "fd00::1", "2001:db8::1"])("%s is an ordinary address", (text) => {
  expect(specialKind(parseAddress(text))).toBeUndefined();
});

import { expect, test } from "vitest";
import { formatAddress } from "../../pkg/ip/address.ts";
import { parseDestination } from "./destination.ts";

test.each<[string, string, number | undefined, string | undefined]>([
  ["10.244.2.7", "10.244.2.7", undefined, undefined],
  ["10.96.0.1:443", "10.96.0.1", 443, "tcp"],
  ["10.96.0.10:53/udp", "10.96.0.10", 53, "udp"],
  ["10.96.0.10:132/SCTP", "10.96.0.10", 132, "sctp"],
  ["10.244.2.7/icmp", "10.244.2.7", undefined, "icmp"],
  ["fd00:10:96::a", "fd00:10:96::a", undefined, undefined],
  ["fd00:10:96::a/udp", "fd00:10:96::a", undefined, "udp"],
  ["[fd00:10:96::a]:53/udp", "fd00:10:96::a", 53, "udp"],
  ["[fd00:10:96::a]", "fd00:10:96::a", undefined, undefined],
])("%s", (text, address, port, protocol) => {
  const parsed = parseDestination(text);
  expect({ ...parsed, address: formatAddress(parsed.address) }).toEqual({ address, port, protocol });
});

test.each([
  ["10.96.0.1:0", /port must be between 1 and 65535/],
  ["10.96.0.1:65536", /port must be between 1 and 65535/],
  ["10.96.0.1:443/http", /http is not one of tcp, udp, sctp, icmp/],
  ["10.96.0.1:https", /expected IP, IP:PORT or IP:PORT\/PROTOCOL/],
  ["web:80", /web:80: "web" is not an IP address/],
])("rejects %s", (text, message) => {
  expect(() => parseDestination(text)).toThrow(message);
});

import { describe, expect, test } from "vitest";
import { ConfigObject } from "../../cni/config.ts";
import { formatAddress } from "../../ip/address.ts";
import type { Span } from "../../ip/span.ts";
import { parseConditions } from "./conditions.ts";

const parse = (words: readonly string[], family: 4 | 6 = 4) =>
  parseConditions(new ConfigObject({ key: words }), "key", family)?.conditions ?? [];

/** Formats conditions as "source > destination < interface". A part without restriction is empty. */
function told(words: readonly string[], family: 4 | 6 = 4): string[] {
  const bits = family === 4 ? 32 : 128;
  const addresses = ({ first, last }: Span) => {
    if (first === 0n && last === (1n << BigInt(bits)) - 1n) return "";
    return [...new Set([first, last])].map((value) => formatAddress({ family, value })).join("-");
  };
  return parse(words, family).map(({ source, destination, inputInterface }) =>
    [addresses(source), addresses(destination), names(inputInterface)].join("|"),
  );
}

function names({ first, last }: Span): string {
  const text = (value: bigint) =>
    (value.toString(16).padStart(32, "0").match(/../g) ?? [])
      .map((byte) => (byte === "00" ? "" : byte === "ff" ? "+" : String.fromCharCode(Number.parseInt(byte, 16))))
      .join("")
      .replace(/\++$/, "+");
  const ends = [...new Set([text(first), text(last)])];
  return ends.join("-") === "-+" ? "" : ends.join("-");
}

describe("iptables' words", () => {
  test.each<[readonly string[], string[]]>([
    [["-s", "10.0.0.0/8"], ["10.0.0.0-10.255.255.255||"]],
    [["--src", "10/8", "--dst", "192.0.2.7/255.255.255.0"], ["10.0.0.0-10.255.255.255|192.0.2.0-192.0.2.255|"]],
    [["--source", "10.1.2.3/8", "--in-interface", "eth0"], ["10.0.0.0-10.255.255.255||eth0"]],
    [
      ["-d", "192.0.2.1,192.0.2.4"],
      ["|192.0.2.1|", "|192.0.2.4|"],
    ],
    [
      ["!", "-d", "192.0.2.1"],
      ["|0.0.0.0-192.0.2.0|", "|192.0.2.2-255.255.255.255|"],
    ],
    [
      ["-d", "!", "192.0.2.1"],
      ["|0.0.0.0-192.0.2.0|", "|192.0.2.2-255.255.255.255|"],
    ],
    [["!", "-s", "0.0.0.0/0"], []],
    [["-i", "eth+"], ["||eth-eth+"]],
    [["-i", "+"], ["||"]],
  ])("%j", (words, expected) => {
    expect(told(words)).toEqual(expected);
  });

  test("parse IPv6 addresses and masks", () => {
    expect(told(["-s", "fd00::/8"], 6)).toEqual(["fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff||"]);
    expect(told(["-d", "fd00::1/ffff::"], 6)).toEqual(["|fd00::-fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff|"]);
  });

  test("! -i matches all names before and after the given name", () => {
    const [before, after] = parse(["!", "-i", "lo"]).map(({ inputInterface }) => inputInterface);
    expect(before?.first).toBe(0n);
    expect(before?.last).toBe((0x6c6fn << 112n) - 1n);
    expect(after?.first).toBe((0x6c6fn << 112n) + 1n);
  });

  test.each<[readonly string[], number, RegExp]>([
    [
      ["-m", "set", "--match-set", "x", "src"],
      2,
      /^key: \["-m","set","--match-set","x","src"\]: "-m" is not supported: use/,
    ],
    [["-s", "10.0.0.0/8", "-p", "tcp"], 2, /"-p" is not supported/],
    [["-s", "10.0.0.1/0.0.0.255"], 2, /"10.0.0.1\/0.0.0.255" is not supported/],
    [["-s", "10.0.0.0/8", "!"], 2, /"!" is not supported/],
    [["-s", "10.0.0.0/8", "--src", "10.0.0.0/9"], 7, /^key: expected --src once/],
    [["-s"], 7, /expected a value after -s/],
    [["-s", "example.org"], 7, /expected an IPv4 address or network, got "example.org"/],
    [["-s", "fd00::/8"], 7, /expected an IPv4 address/],
    [["-s", "10.0.0.0/33"], 7, /expected an IPv4 address/],
    [["-s", "10.0.0.0/8/8"], 7, /expected an IPv4 address/],
    [["!", "-s", "10.0.0.1,10.0.0.2"], 7, /one address or network after !/],
    [["-i", "a-name-that-is-too-long"], 7, /expected the name of an interface/],
  ])("refuse %j", (words, code, message) => {
    expect(() => parse(words)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

describe("nft's expressions", () => {
  test.each<[readonly string[], string[]]>([
    [["ip saddr 192.0.2.1"], ["192.0.2.1||"]],
    [["ip", "saddr", "10.0.0.0/8", "iifname", '"eth*"'], ["10.0.0.0-10.255.255.255||eth-eth+"]],
    [["ip saddr { 192.0.2.1, 10.0.0.0/8, }"], ["10.0.0.0-10.255.255.255||", "192.0.2.1||"]],
    [["ip daddr != 192.0.2.0/24"], ["|0.0.0.0-192.0.1.255|", "|192.0.3.0-255.255.255.255|"]],
    [["ip daddr!={192.0.2.0/24,192.0.3.0/24}"], ["|0.0.0.0-192.0.1.255|", "|192.0.4.0-255.255.255.255|"]],
    [["ip saddr 10.0.0.1-10.0.0.9", "meta iifname eq eth0"], ["10.0.0.1-10.0.0.9||eth0"]],
    [["ip saddr 10.0.0.0/8 ip saddr != 10.0.0.0/9"], ["10.128.0.0-10.255.255.255||"]],
  ])("%j", (words, expected) => {
    expect(told(words)).toEqual(expected);
  });

  test("parse IPv6 addresses", () => {
    expect(told(["ip6 daddr fd00::1"], 6)).toEqual(["|fd00::1|"]);
  });

  test.each<[readonly string[], number, RegExp]>([
    [["tcp dport 80"], 2, /"tcp" is not supported: use .* ip saddr/],
    [["ip protocol tcp"], 2, /"ip" is not supported/],
    [["ip saddr @trusted"], 2, /"@trusted" is not supported/],
    [["meta mark 1"], 2, /"mark" is not supported/],
    [["ip saddr < 10.0.0.1"], 2, /"<" is not supported/],
    [["ip6 saddr fd00::1"], 7, /expected addresses of IPv4, got "ip6"/],
    [["ip saddr 10.0.0.9-10.0.0.1"], 7, /expected an IPv4 address, network or range/],
    [["ip saddr"], 7, /expected a value at the end/],
    [["ip saddr { 10.0.0.1"], 7, /expected a set that ends/],
    [["ip saddr { 10.0.0.1 10.0.0.2 }"], 7, /expected a set of values/],
    [["ip saddr { }"], 7, /expected a set of values/],
    [['iifname "a-name-that-is-too-long"'], 7, /expected the name of an interface/],
    [['iifname "eth'], 7, /expected the name of an interface/],
  ])("refuse %j", (words, code, message) => {
    expect(() => parse(words)).toThrow(expect.objectContaining({ code, message: expect.stringMatching(message) }));
  });
});

test("an empty key is no condition", () => {
  for (const words of [undefined, null, [], [""]]) {
    expect(parseConditions(new ConfigObject({ key: words }), "key", 4)).toBeUndefined();
  }
});

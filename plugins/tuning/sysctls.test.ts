import { expect, test } from "vitest";
import { FakeFiles } from "../../pkg/sys/fake-files.ts";
import { assertAllowed, isSameValue, sysctlName } from "./sysctls.ts";

test.each([
  ["net.ipv4.conf.IFNAME.arp_filter", "net/ipv4/conf/eth0.5/arp_filter"],
  ["net/ipv4/conf/IFNAME/arp_filter", "net/ipv4/conf/eth0.5/arp_filter"],
  [".net.ipv4.ip_forward", "net/ipv4/ip_forward"],
  ["net.ipv4.conf.IFNAME.IFNAME", "net/ipv4/conf/eth0.5/IFNAME"],
])("converts %s to %s", (key, path) => {
  expect(sysctlName(key, "eth0.5").join("/")).toBe(path);
});

test.each(["kernel.shm_rmid_forced", "net", "", ".", "netx.ipv4", "net.a\0b", "fs.net"])("rejects %j", (key) => {
  expect(() => sysctlName(key, "eth0")).toThrow(expect.objectContaining({ code: 7 }));
});

test("no part of a key is a parent directory, since dots are separators", () => {
  expect(sysctlName("net/../kernel/core_pattern", "eth0").join("/")).toBe("net/kernel/core_pattern");
});

const filesWith = (text: string): FakeFiles => {
  const files = new FakeFiles();
  files.makeDirectory("/etc/cni/tuning");
  files.writeFile("/etc/cni/tuning/allowlist.conf", new TextEncoder().encode(text));
  return files;
};

test("allows every key without a list", () => {
  expect(() => assertAllowed(new FakeFiles(), ["net.ipv4.ip_forward"])).not.toThrow();
});

test("allows keys that a line of the list matches anywhere", () => {
  const files = filesWith("\n  ^net\\.ipv4\\.conf\\.IFNAME\\.[a-z_]+$  \nsomaxconn\n");
  expect(() => assertAllowed(files, ["net.ipv4.conf.IFNAME.arp_filter", "net.core.somaxconn"])).not.toThrow();
  expect(() => assertAllowed(files, ["net.core.somaxconn", "net.ipv4.ip_forward"])).toThrow(
    expect.objectContaining({ code: 7, message: expect.stringContaining('"net.ipv4.ip_forward" is not allowed') }),
  );
});

test("an empty list allows no keys, and accepts a configuration without keys", () => {
  expect(() => assertAllowed(filesWith(""), ["net.ipv4.ip_forward"])).toThrow(/which allows: nothing/);
  expect(() => assertAllowed(filesWith(""), [])).not.toThrow();
});

test("reports the number of a line that is not a regular expression", () => {
  expect(() => assertAllowed(filesWith("ok\nnet.(\n"), ["net.ipv4.ip_forward"])).toThrow(
    /line 2: "net.\(" is not a regular/,
  );
});

test("compares lists of numbers without regard to tabs and spaces", () => {
  expect(isSameValue("4096\t5000\t6000", " 4096 5000  6000\n")).toBe(true);
  expect(isSameValue("4096\t5000\t6000", "4096 5000")).toBe(false);
  expect(isSameValue("10", "1 0")).toBe(false);
});

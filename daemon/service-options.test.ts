import { afterEach, expect, test, vi } from "vitest";
import { formatPrefix } from "../pkg/ip/prefix.ts";
import { type Options, optionsCommand } from "./options.ts";

afterEach(() => vi.unstubAllEnvs());

/** Parses with errors thrown and nothing printed, instead of ending the process. */
function parse(...args: string[]): Options {
  const command = optionsCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return command.parse(["--node-name", "n1", ...args], { from: "user" }).opts<Options>();
}

test("--nodeport-addresses takes keywords and networks together", () => {
  const { nodeportAddresses } = parse("--nodeport-addresses", "primary, localhost,192.0.2.0/24,2001:db8::/32");
  expect({ ...nodeportAddresses, ranges: nodeportAddresses.ranges.map(formatPrefix) }).toEqual({
    ...{ hasPrimary: true, hasAll: false, hasLocalhost: true, ranges: ["192.0.2.0/24", "2001:db8::/32"] },
  });
  expect(parse("--nodeport-addresses", "all").nodeportAddresses).toMatchObject({ hasPrimary: false, hasAll: true });
});

test.each([
  ["--nodeport-addresses", "everything", /Expected primary, all, localhost or networks, got "everything"/],
  ["--nodeport-addresses", "primary,", /Expected primary, all, localhost or networks, got ""/],
  ["--nodeport-addresses", "192.0.2.1/24", /has host bits set/],
  ["--external-ips", "some", /external-ips/],
  ["--masquerade-all=perhaps", "", /Expected true or false/],
  ["--masquerade-bit", "32", /Expected a bit from 0 to 31/],
  ["--masquerade-bit", "0x4000", /Expected a bit from 0 to 31/],
  ["--service-proxy", "ipvs", /Allowed choices are none, nftables/],
])("refuses %s %s", (flag, value, message) => {
  expect(() => parse(flag, ...(value === "" ? [] : [value]))).toThrow(message);
});

test("--external-ips takes all, none or networks", () => {
  expect(parse("--external-ips", "none").externalIps).toBe("none");
  const { externalIps } = parse("--external-ips", "203.0.113.0/24,2001:db8::/32");
  expect(externalIps).toHaveLength(2);
});

test.each([
  [["--masquerade-all"], undefined, true],
  [["--masquerade-all=false"], "true", false],
  [[], "true", true],
  [[], "false", false],
])("--masquerade-all with arguments %j and environment %s is %s", (args, environment, expected) => {
  if (environment !== undefined) vi.stubEnv("WEFTD_MASQUERADE_ALL", environment);
  expect(parse(...args).masqueradeAll).toBe(expected);
});

import type { Command } from "commander";
import { afterEach, expect, test, vi } from "vitest";
import { formatAddress, parseAddress } from "../pkg/ip/address.ts";
import { formatPrefix } from "../pkg/ip/prefix.ts";
import { parseListenAddress } from "./flag.ts";
import { type Options, optionsCommand, parsePublicIp } from "./options.ts";

afterEach(() => vi.unstubAllEnvs());

function parse(...args: string[]): Options {
  return quiet(optionsCommand()).parse(args, { from: "user" }).opts<Options>();
}

/** Parses with errors thrown and nothing printed, instead of ending the process. */
function quiet(command: Command): Command {
  return command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
}

test("every option but the node name has a default", () => {
  expect(parse("--node-name", "n1")).toEqual({
    nodeName: "n1",
    netConf: "/etc/weft/net-conf.json",
    attach: "bridge",
    ...{ ifaceCidr: [], publicIp: [] },
    nonMasqueradeCidrs: [],
    vxlanFrom: "nodes",
    cniConfDir: "/etc/cni/net.d",
    runDir: "/run/weft",
    apiserver: [],
    stateDir: "/var/lib/weft",
    procSys: "/proc/sys",
    metricsAddress: { host: "127.0.0.1", port: 9468 },
    logLevel: "info",
    serviceProxy: "none",
    nodeportAddresses: { hasPrimary: true, hasAll: false, hasLocalhost: false, ranges: [] },
    ...{ externalIps: "all", masqueradeAll: false, masqueradeBit: 14 },
    healthzBindAddress: { host: undefined, port: 10_256 },
    proxyMetricsBindAddress: { host: "127.0.0.1", port: 10_249 },
    serviceCounters: 100,
    conntrackMaxPerCore: 32_768,
    conntrackMin: 131_072,
    conntrackTcpBeLiberal: false,
    ...{ pods: true, outsideHosts: [] },
    ...{ policyCutEstablished: false, guardSenders: true },
  });
});

test("a flag overrides its environment variable, which overrides the default", () => {
  vi.stubEnv("NODE_NAME", "from-environment");
  vi.stubEnv("WEFTD_RUN_DIR", "/run/other");
  vi.stubEnv("WEFTD_METRICS_ADDRESS", ":9000");
  expect(parse()).toMatchObject({
    nodeName: "from-environment",
    runDir: "/run/other",
    metricsAddress: { host: undefined, port: 9000 },
  });
  expect(parse("--node-name", "from-flag").nodeName).toBe("from-flag");
});

test("--non-masquerade-cidrs is a list", () => {
  const { nonMasqueradeCidrs } = parse("--node-name", "n1", "--non-masquerade-cidrs", "10.0.0.0/8, fd00::/8");
  expect(nonMasqueradeCidrs.map(formatPrefix)).toEqual(["10.0.0.0/8", "fd00::/8"]);
});

test("every flag has an environment variable and a description, and --help shows both", () => {
  const command = optionsCommand();
  const help = command.helpInformation().replace(/\s+/g, " ");
  for (const option of command.options) {
    expect(option.envVar, option.flags).toMatch(/^(WEFTD_[A-Z_]+|NODE_NAME)$/);
    expect(help).toContain(`env: ${option.envVar}`);
  }
  expect(command.options.length).toBe(41);
});

test.each([
  [[], /required option '--node-name <name>' not specified/],
  [["--node-name", "n1", "--log-level", "loud"], /Allowed choices are fatal, error/],
  [["--node-name", "n1", "--public-ip", "host"], /"host" is not an IP address/],
  [["--node-name", "n1", "--non-masquerade-cidrs", "10.0.0.0/8,host"], /host/],
  [["--node-name", "n1", "--non-masquerade-cidrs", "10.0.0.1/8"], /10\.0\.0\.1\/8/],
  [["--node-name", "n1", "--vxlan-from", "me"], /Allowed choices are nodes, anybody/],
  [["--node-name", "n1", "--nonsense"], /unknown option '--nonsense'/],
  [["--node-name", "n1", "stray"], /too many arguments/],
])("rejects %j and names the argument", (args, message) => {
  vi.stubEnv("NODE_NAME", undefined);
  expect(() => parse(...args)).toThrow(message);
});

test("--public-ip takes one address of each family", () => {
  expect(parsePublicIp("192.0.2.1").map(formatAddress)).toEqual(["192.0.2.1"]);
  expect(parsePublicIp("2001:db8::1, 192.0.2.1").map(formatAddress)).toEqual(["2001:db8::1", "192.0.2.1"]);
  expect(() => parsePublicIp("192.0.2.1,192.0.2.2")).toThrow("Expected one IPv4 address");
});

test.each([
  ["127.0.0.1:9468", { host: "127.0.0.1", port: 9468 }],
  ["[::1]:1", { host: "::1", port: 1 }],
  [":65535", { host: undefined, port: 65535 }],
])("parses %s as an address to listen on", (text, expected) => {
  expect(parseListenAddress(text)).toEqual(expected);
});

test.each(["9468", "::1:9468", "localhost:", "127.0.0.1:65536", "[::1]"])(
  "rejects %s as an address to listen on",
  (text) => {
    expect(() => parseListenAddress(text)).toThrow("Expected host:port");
  },
);

test("networks, a pattern or a reachable address select the underlay's interface", () => {
  const { ifaceCidr, ifaceRegex, ifaceCanReach } = parse(
    ...["--node-name", "n1", "--iface-cidr", "10.0.0.0/8, fd00::/8"],
    ...["--iface-regex", "^(eth|ens)\\d", "--iface-can-reach", "198.51.100.1"],
  );
  expect(ifaceCidr.map(formatPrefix)).toEqual(["10.0.0.0/8", "fd00::/8"]);
  expect(ifaceRegex?.test("ens3")).toBe(true);
  expect(ifaceCanReach).toEqual(parseAddress("198.51.100.1"));
});

test.each([
  [["--iface-cidr", "10.0.0.1/8"], /host bits set: expected .*10\.0\.0\.0\/8/],
  [["--iface-regex", "("], /Unterminated group/],
  [["--iface-can-reach", "everything"], /"everything"/],
])("rejects %s", (args, message) => {
  expect(() => parse("--node-name", "n1", ...args)).toThrow(message);
});

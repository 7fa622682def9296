import { hostname } from "node:os";
import { afterEach, expect, test, vi } from "vitest";
import { parseAddress } from "../pkg/ip/address.ts";
import { formatPrefix } from "../pkg/ip/prefix.ts";
import { type Options, optionsCommand } from "./options.ts";
import { outsideMistake } from "./outside-options.ts";

afterEach(() => vi.unstubAllEnvs());

function parse(...args: string[]): Options {
  const command = optionsCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return command.parse(args, { from: "user" }).opts<Options>();
}

test("a host without pods uses the machine's name unless --node-name is given", () => {
  vi.stubEnv("NODE_NAME", undefined);
  expect(parse("--no-pods")).toMatchObject({ pods: false, nodeName: hostname() });
  expect(parse("--no-pods", "--node-name", "edge").nodeName).toBe("edge");
  vi.stubEnv("WEFTD_NO_PODS", "1");
  expect(parse().pods).toBe(false);
});

test("a host without pods serves no health check and changes no settings unless flags request it", () => {
  expect(parse("--no-pods")).toMatchObject({
    ...{ healthzBindAddress: "none", conntrackMaxPerCore: 0 },
    ...{ conntrackTcpTimeoutEstablished: 0, conntrackTcpTimeoutCloseWait: 0 },
  });
  const flags = ["--healthz-bind-address", ":10256", "--conntrack-max-per-core", "1000"];
  expect(parse("--no-pods", ...flags)).toMatchObject({
    ...{ healthzBindAddress: { host: undefined, port: 10256 }, conntrackMaxPerCore: 1000 },
  });
  expect(parse("--node-name", "n1").conntrackMaxPerCore).toBe(32_768);
});

test("--via takes a name or an address", () => {
  expect(parse("--no-pods", "--via", "n1.example").via).toEqual({ name: "n1.example" });
  expect(parse("--no-pods", "--via", "2001:db8::1").via).toEqual({ address: parseAddress("2001:db8::1") });
});

test("--outside-hosts takes networks", () => {
  const { outsideHosts } = parse("--node-name", "n1", "--outside-hosts", "198.51.100.0/24,2001:db8::/64");
  expect(outsideHosts.map(formatPrefix)).toEqual(["198.51.100.0/24", "2001:db8::/64"]);
});

test.each([
  [["--no-pods", "--via", "192.0.2"], /Expected the name of a Node, or an address/],
  [["--no-pods", "--via", "Node_1"], /Expected the name of a Node, or an address/],
  [["--no-pods", "--attach", "ptp"], /option '--no-pods' cannot be used with option '--attach <plugin>'/],
  [["--no-pods", "--iface", "eth1"], /cannot be used with option '--iface <name>'/],
  [["--node-name", "n1", "--outside-hosts", "198.51.100.1/24"], /host bits set/],
])("rejects %j", (args, message) => {
  expect(() => parse(...args)).toThrow(message);
});

test("rejects flags that exclude each other, and names them", () => {
  const mistake = (pods: boolean, serviceProxy: string, via?: string) =>
    outsideMistake({ pods, serviceProxy, via: via === undefined ? undefined : { name: via } });
  expect(mistake(false, "none")).toMatch(/--no-pods requires --service-proxy/);
  expect(mistake(true, "nftables", "n1")).toMatch(/--via requires --no-pods/);
  expect([mistake(false, "nftables", "n1"), mistake(true, "none")]).toEqual([undefined, undefined]);
});

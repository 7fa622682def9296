import { afterEach, expect, test, vi } from "vitest";
import { type Options, optionsCommand } from "./options.ts";
import { parseSeconds } from "./proxy-place-options.ts";

afterEach(() => vi.unstubAllEnvs());

/** Parses with errors thrown and nothing printed, instead of ending the process. */
function parse(...args: string[]): Options {
  const command = optionsCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined });
  return command.parse(["--node-name", "n1", ...args], { from: "user" }).opts<Options>();
}

test("flags with kube-proxy's names take kube-proxy's values", () => {
  const given = parse(
    ...["--healthz-bind-address", "127.0.0.1:10256", "--conntrack-max-per-core", "0", "--conntrack-tcp-be-liberal"],
    ...["--conntrack-tcp-timeout-established", "24h0m0s", "--conntrack-udp-timeout-stream", "3m"],
  );
  expect(given).toMatchObject({
    healthzBindAddress: { host: "127.0.0.1", port: 10_256 },
    ...{ conntrackMaxPerCore: 0, conntrackTcpBeLiberal: true },
    ...{ conntrackTcpTimeoutEstablished: 86_400, conntrackUdpTimeoutStream: 180 },
  });
  expect(given.conntrackTcpTimeoutCloseWait).toBeUndefined();
});

test("the address none turns a server off", () => {
  vi.stubEnv("WEFTD_PROXY_METRICS_BIND_ADDRESS", "none");
  expect(parse("--healthz-bind-address", "none")).toMatchObject({
    ...{ healthzBindAddress: "none", proxyMetricsBindAddress: "none" },
  });
});

test.each([
  ["0", 0],
  ["0s", 0],
  ["90s", 90],
  ["1h30m", 5400],
])("parses %s as %d seconds", (text, seconds) => expect(parseSeconds(text)).toBe(seconds));

test.each([
  ["--conntrack-udp-timeout", "10", /Expected a duration/],
  ["--conntrack-tcp-timeout-close-wait", "1d", /Expected a duration/],
  ["--conntrack-min", "-1", /Expected a whole number/],
  ["--service-counters", "many", /Expected a whole number/],
  ["--healthz-bind-address", "10256", /Expected host:port/],
])("refuses %s %s", (flag, value, message) => expect(() => parse(flag, value)).toThrow(message));

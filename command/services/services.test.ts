/** Tests weft services with weftd's real answers, and with rules that the mode really programs. */
import { beforeEach, describe, expect, test } from "vitest";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import type { FakeNftables } from "../../pkg/nft/fake-nftables.ts";
import { ServiceMap } from "../../pkg/services/service-map.ts";
import { type CommandNode, pageOf, program, weft, weftdSaying } from "../../test/services/command-bed.ts";
import { addresses, endpoint, LOCAL, nodeFacts, port, service, slice, UNREADY } from "../../test/services/core-bed.ts";

const WEB = "default/web";
const OLD = "team/older";
const EMPTY = "default/empty";

let node: CommandNode;
let nftables: FakeNftables;

/** A NodePort with policy Local, a Service that lost its external address, and one without endpoints. */
beforeEach(() => {
  const map = new ServiceMap();
  const facts = nodeFacts();
  map.setNode(facts);
  const settings = {
    localPods: [parsePrefix("10.244.1.0/24")],
    serviceRanges: [parsePrefix("10.96.0.0/16")],
    ...{ masqueradeAll: false, masqueradeBit: 14 },
  };
  const external = { externalIPs: addresses("203.0.113.7") };
  map.setService(OLD, service({ clusterIPs: addresses("10.96.0.9"), ...external, created: "2026-01-01T00:00:00Z" }));
  map.setSlices(OLD, [slice([endpoint("10.244.2.9")])]);
  map.setService(
    WEB,
    service({
      ...{ type: "NodePort", ports: [port(80, { nodePort: 30080 })], externalTrafficPolicy: "Local" },
      ...{ ...external, created: "2026-02-01T00:00:00Z" },
    }),
  );
  map.setSlices(WEB, [slice([endpoint("10.244.1.5", LOCAL), endpoint("10.244.2.7"), endpoint("10.244.2.8", UNREADY)])]);
  map.setService(EMPTY, service({ clusterIPs: addresses("10.96.0.77") }));
  map.changes();
  node = { map, node: facts, settings };
  nftables = program(node);
});

const withWeftd = (words = "services", state: object = {}) =>
  weft(words, { netlink: (datagram) => nftables.answer(datagram, 1), tcpServers: weftdSaying(pageOf(node, state)) });
const withoutWeftd = (words = "services") => weft(words, { netlink: (datagram) => nftables.answer(datagram, 1) });

test("shows frontends, lost claims, endpoints, and why endpoints are not used", () => {
  const { status, output } = withWeftd();
  expect(output).toMatchInlineSnapshot(`
    "MODE       nftables
    services   3, with 5 frontends and 4 endpoints
    state      in sync, last 2s ago
    nodeports  on 192.168.0.1, 2001:db8::1
    external   externalIPs: all

    SERVICE        ADDRESS                KIND        POLICY    ENDPOINTS  CONNECTIONS
    default/empty  10.96.0.77:80/tcp      ClusterIP   internal  0          0            no endpoint: new connections are rejected
    default/web    10.96.0.1:80/tcp       ClusterIP   internal  2          0
                   192.168.0.1:30080/tcp  NodePort    local     1 of 2     0
                   203.0.113.7:80/tcp     ExternalIP                                    lost: team/older has it as its ExternalIP
                     10.244.1.5:8080/tcp  endpoint    used                              on n1
                     10.244.2.7:8080/tcp  endpoint    used                              used by the ClusterIP and external traffic from this node and its pods only; on n2
                     10.244.2.8:8080/tcp  endpoint    not used                          not ready; on n2
    team/older     10.96.0.9:80/tcp       ClusterIP   internal  1          0
                   203.0.113.7:80/tcp     ExternalIP  cluster   1          0
                     10.244.2.9:8080/tcp  endpoint    used                              on n2
    "
  `);
  expect(status).toBe(4);
});

test("shows one Service, one namespace, or only frontends", () => {
  expect(withWeftd("services default/empty").output).not.toContain("default/web");
  expect(withWeftd("services empty -n default").output).toContain("default/empty");
  expect(withWeftd("services -n team").output).not.toContain("default/");
  const { output } = withWeftd("services --no-endpoints");
  expect(output).toContain("default/web");
  expect(output).not.toContain("10.244.2.8");
});

test("prints the same as JSON", () => {
  const { status, output } = withWeftd("services default/web -o json");
  expect(status).toBe(4);
  const { source, services } = JSON.parse(output);
  expect(source).toBe("weftd");
  expect(services).toHaveLength(1);
  expect(services[0]).toMatchObject({
    service: WEB,
    frontends: expect.arrayContaining([expect.objectContaining({ kind: "NodePort", policy: "local", connections: 0 })]),
    lost: [{ address: "203.0.113.7", winner: OLD, winnerKind: "ExternalIP" }],
  });
});

describe("without weftd", () => {
  test("shows frontends and endpoints of the kernel's table, without names", () => {
    const { status, output } = withoutWeftd();
    expect(status).toBe(5);
    expect(output).toMatchInlineSnapshot(`
      "weftd does not answer (connect a TCP connection: connection refused (ECONNREFUSED)). This is the content of the kernel's table inet weft-services, which is not being updated.

      SERVICE  ADDRESS                KIND       POLICY    ENDPOINTS  CONNECTIONS
      ?        10.96.0.1:80/tcp       ClusterIP  internal  2          0
                 10.244.1.5:8080      endpoint   used
                 10.244.2.7:8080      endpoint   used
      ?        10.96.0.9:80/tcp       ClusterIP  internal  1          0
                 10.244.2.9:8080      endpoint   used
      ?        10.96.0.77:80/tcp      ClusterIP  internal  0          0            no endpoint: new connections are rejected
      ?        192.168.0.1:30080/tcp  external   local     1 of 2     0
                 10.244.1.5:8080      endpoint   used
                 10.244.2.7:8080      endpoint   used
      ?        203.0.113.7:80/tcp     external   cluster   1          0
                 10.244.2.9:8080      endpoint   used
      "
    `);
  });

  test("reports that there is no table", () => {
    const { status, output } = weft("services", {
      netlink: (datagram) => new (nftables.constructor as typeof FakeNftables)().answer(datagram, 1),
    });
    expect(status).toBe(0);
    expect(output).toMatch(/weftd does not answer .*, and there is no table inet weft-services/);
  });
});

test("a frontend missing in the kernel is an error", () => {
  node.map.setService("default/new", service({ clusterIPs: addresses("10.96.0.78") }));
  node.map.changes();
  const { status, output } = withWeftd("services default/new");
  expect(output).toMatch(/10\.96\.0\.78:80\/tcp.*not in the kernel/);
  expect(status).toBe(5);
});

test.each([
  [{ isOurs: false }, /another program serves Services/],
  [{ isSynced: false }, /waiting for the first list/],
  [{ lastSync: { kind: "compare", agoMs: 3000, durationMs: 1, error: "EPERM" } }, /the last sync failed 3s ago: EPERM/],
])("exits with status 5 if weftd does not update the table: %j", (state, words) => {
  const { status, output } = withWeftd("services", state);
  expect(output).toMatch(words);
  expect(status).toBe(5);
});

test("says so if another program serves Services", () => {
  const options = { netlink: () => [], tcpServers: weftdSaying(() => ({}), 404) };
  const { status, output } = weft("services", { ...options, netlink: withoutTable });
  expect(output).toMatch(/--service-proxy none, so another program serves Services/);
  expect(status).toBe(0);
});

const withoutTable = (datagram: Uint8Array) => new (nftables.constructor as typeof FakeNftables)().answer(datagram, 1);

test("rejects words that are not a Service's name", () => {
  expect(withWeftd("services web")).toMatchObject({ status: 2, output: "" });
  expect(withWeftd("services default/none")).toMatchObject({
    status: 1,
    errorOutput: expect.stringContaining("has no Service"),
  });
});

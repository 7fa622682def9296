import { describe, expect, test } from "vitest";
import { optionsCommand } from "../options.ts";
import { translationText } from "./command.ts";
import { readConfiguration } from "./configuration.ts";
import { translate } from "./translate.ts";

const HEAD = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";

/** The ConfigMap that kubeadm 1.36 writes, with every key that it leaves to the defaults. */
const KUBEADM = `apiVersion: v1
kind: ConfigMap
metadata: {name: kube-proxy, namespace: kube-system}
data:
  config.conf: |-
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    bindAddress: 0.0.0.0
    bindAddressHardFail: false
    clientConnection:
      acceptContentTypes: ""
      burst: 0
      contentType: ""
      kubeconfig: /var/lib/kube-proxy/kubeconfig.conf
      qps: 0
    clusterCIDR: 10.244.0.0/16
    configSyncPeriod: 0s
    conntrack:
      maxPerCore: null
      min: null
      tcpBeLiberal: false
      tcpCloseWaitTimeout: null
      tcpEstablishedTimeout: null
      udpStreamTimeout: 0s
      udpTimeout: 0s
    detectLocal:
      bridgeInterface: ""
      interfaceNamePrefix: ""
    detectLocalMode: ""
    enableProfiling: false
    healthzBindAddress: ""
    hostnameOverride: ""
    iptables:
      localhostNodePorts: null
      masqueradeAll: false
      masqueradeBit: null
      minSyncPeriod: 0s
      syncPeriod: 0s
    ipvs:
      excludeCIDRs: null
      scheduler: ""
    kind: KubeProxyConfiguration
    metricsBindAddress: ""
    mode: ""
    nodePortAddresses: null
    oomScoreAdj: null
    portRange: ""
    showHiddenMetricsForVersion: ""
  kubeconfig.conf: "apiVersion: v1"
`;

const translated = (text: string) => translate(readConfiguration(text));
const warnings = (text: string) =>
  translated(text)
    .notes.filter(({ kind }) => kind === "warning")
    .map(({ setting }) => setting);

test("translates kubeadm's ConfigMap and warns of the addresses that mode iptables served", () => {
  const { flags, notes } = translated(KUBEADM);
  expect(flags).toEqual(["--service-proxy nftables"]);
  expect(warnings(KUBEADM)).toEqual([
    "nodePortAddresses",
    "iptables.localhostNodePorts (true if not stated)",
    "clusterCIDR",
  ]);
  expect(notes.find(({ setting }) => setting === "nodePortAddresses")?.text).toMatch(
    /every address of the node, and on 127\.0\.0\.1; .* --nodeport-addresses all/,
  );
  expect(notes.find(({ setting }) => setting === "conntrack.tcpBeLiberal")?.text).toBe("also weftd's default");
});

describe("a setting", () => {
  const cases: [string, string, readonly string[], RegExp | undefined][] = [
    [
      "masqueradeAll of mode nftables",
      "mode: nftables\nnftables: {masqueradeAll: true}",
      ["--masquerade-all"],
      undefined,
    ],
    ["masqueradeAll of another mode", "mode: nftables\niptables: {masqueradeAll: true}", [], undefined],
    ["masqueradeBit", "mode: nftables\nnftables: {masqueradeBit: 13}", ["--masquerade-bit 13"], undefined],
    ["masqueradeBit, the default", "mode: nftables\nnftables: {masqueradeBit: 14}", [], undefined],
    [
      "nodePortAddresses of both families",
      "mode: nftables\nnodePortAddresses: [192.0.2.0/24, 2001:db8::/32]",
      ["--nodeport-addresses 192.0.2.0/24,2001:db8::/32"],
      undefined,
    ],
    [
      "nodePortAddresses of one family",
      "mode: nftables\nnodePortAddresses: [192.0.2.0/24]",
      ["--nodeport-addresses 192.0.2.0/24"],
      /on every IPv6 address, weftd on none/,
    ],
    [
      "nodePortAddresses primary",
      "mode: nftables\nnodePortAddresses: [primary]",
      ["--nodeport-addresses primary"],
      undefined,
    ],
    [
      "localhostNodePorts",
      "mode: iptables\nnodePortAddresses: [primary]\niptables: {localhostNodePorts: true}",
      ["--nodeport-addresses primary"],
      /--nodeport-addresses primary,localhost/,
    ],
    [
      "an address of its own for metrics",
      "mode: nftables\nmetricsBindAddress: 0.0.0.0:10249",
      ["--proxy-metrics-bind-address 0.0.0.0:10249"],
      undefined,
    ],
    ["the usual address for health", "mode: nftables\nhealthzBindAddress: 0.0.0.0:10256", [], undefined],
    [
      "everything about connection tracking",
      "mode: nftables\nconntrack: {maxPerCore: 1000, min: 5000, tcpEstablishedTimeout: 2h0m0s, tcpCloseWaitTimeout: 1h0m0s, udpTimeout: 0s, udpStreamTimeout: 90s, tcpBeLiberal: true}",
      [
        ...["--conntrack-max-per-core 1000", "--conntrack-min 5000", "--conntrack-tcp-timeout-established 2h0m0s"],
        ...["--conntrack-udp-timeout-stream 90s", "--conntrack-tcp-be-liberal"],
      ],
      undefined,
    ],
    ["mode ipvs", "mode: ipvs\nnodePortAddresses: [primary]", ["--nodeport-addresses primary"], /kube-proxy --cleanup/],
    ["an unknown key", "mode: nftables\nnewThing: {on: true}", [], /newThing\.on.*unknown setting/],
  ];
  test.each(cases)("%s", (_name, text, flags, warned) => {
    const translation = translated(`${HEAD}${text}`);
    expect(translation.flags).toEqual(["--service-proxy nftables", ...flags]);
    const said = translation.notes
      .filter(({ kind }) => kind === "warning")
      .map((note) => `${note.setting}: ${note.text}`);
    if (warned === undefined) expect(said).toEqual([]);
    else expect(said.join("\n")).toMatch(warned);
  });
});

test("weftd accepts every flag of a translation", () => {
  const text = `${HEAD}mode: iptables\nnodePortAddresses: [192.0.2.0/24]\niptables: {masqueradeAll: true, masqueradeBit: 3}\nhealthzBindAddress: 127.0.0.1:1\nmetricsBindAddress: 127.0.0.1:2\nconntrack: {maxPerCore: 0, min: 1, tcpEstablishedTimeout: 1h30m0s, tcpCloseWaitTimeout: 5m0s, udpTimeout: 10s, udpStreamTimeout: 0s, tcpBeLiberal: true}`;
  const words = translated(text).flags.flatMap((flag) => flag.split(" "));
  const options = optionsCommand()
    .exitOverride()
    .parse(["--node-name", "n1", ...words], { from: "user" })
    .opts();
  expect(options).toMatchObject({
    ...{ serviceProxy: "nftables", masqueradeAll: true, masqueradeBit: 3, conntrackMaxPerCore: 0, conntrackMin: 1 },
    ...{ conntrackTcpTimeoutEstablished: 5400, conntrackTcpTimeoutCloseWait: 300, conntrackUdpTimeout: 10 },
    ...{ conntrackTcpBeLiberal: true, healthzBindAddress: { host: "127.0.0.1", port: 1 } },
  });
});

test("the notes name every stated setting", () => {
  const text = translationText(translated(KUBEADM));
  for (const name of ["bindAddressHardFail", "clientConnection.kubeconfig", "configSyncPeriod", "iptables.syncPeriod"])
    expect(text).toContain(name);
  expect(text).toMatch(/^Flags for weftd:\n {2}--service-proxy nftables\n/);
});

test.each([
  ["nothing", "", /expected a KubeProxyConfiguration/],
  ["another object", "apiVersion: v1\nkind: Secret", /expected a KubeProxyConfiguration/],
  ["broken YAML", "a: [", /the file:/],
  [
    "a broken ConfigMap",
    `kind: ConfigMap\ndata: {config.conf: "kind: KubeProxyConfiguration\\na: ["}`,
    /data\.config\.conf:/,
  ],
])("rejects %s", (_name, text, message) => {
  expect(() => readConfiguration(text)).toThrow(message);
});

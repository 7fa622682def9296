/**
 * The Helm chart renders what kustomize makes: with its defaults the base, with each example the overlay of that name.
 * Its templates repeat the manifests, because a chart cannot read files outside its folder.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { parse } from "yaml";
import { optionsCommand } from "../../daemon/options.ts";
import { byName, find, type KubeObject, nameOf, parseObjects } from "./objects.ts";
import { containerOf, podOf } from "./pod.ts";
import { problemsOf } from "./strict.ts";
import { CONF, type HelmOutcome, helm, kustomizeObjects } from "./tools.ts";
import { formatValuesTable, type Schema } from "./values-table.ts";

/** The tests start programs of sixty megabytes and load schemas of all of Kubernetes, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const CHART = `${CONF}/chart`;
const EXAMPLES = readdirSync(`${CHART}/examples`)
  .map((name) => name.replace(/\.yaml$/, ""))
  .sort();

function attempt(...args: readonly string[]): HelmOutcome {
  // Without a cluster helm uses the oldest version that it supports.
  return helm("template", "weft", CHART, "--namespace", "weft", "--kube-version", "1.35.0", ...args);
}

function template(...args: readonly string[]): readonly KubeObject[] {
  const { isGood, text } = attempt(...args);
  if (!isGood) throw new Error(text);
  return parseObjects(text);
}

/** Removes permitted differences: the namespace, which Helm's user makes, and the order of keys in net-conf.json. */
function normalised(objects: readonly KubeObject[]): Readonly<Record<string, KubeObject>> {
  return byName(objects.filter(({ kind }) => kind !== "Namespace").map(withParsedData));
}

function withParsedData(object: KubeObject): KubeObject {
  if (object.metadata.name !== "weft-net-conf") return object;
  const { "net-conf.json": text } = object.data as Record<string, string>;
  return { ...object, data: JSON.parse(text ?? "") as unknown };
}

test("helm lint finds nothing", () => {
  expect(helm("lint", CHART, "--strict", "--kube-version", "1.35.0")).toMatchObject({ isGood: true });
});

test("its version is weft's", () => {
  const { version } = JSON.parse(readFileSync(`${CONF}/../package.json`, "utf8")) as { version: string };
  expect(parse(readFileSync(`${CHART}/Chart.yaml`, "utf8"))).toMatchObject({ version, appVersion: version });
});

test("the defaults render the base", () => {
  expect(normalised(template())).toEqual(normalised(kustomizeObjects("base")));
});

test("there is an example for each overlay", () => {
  expect(EXAMPLES).toEqual(readdirSync(`${CONF}/overlays`).sort());
});

test.each(EXAMPLES)("the example %s renders the overlay of that name", (name) => {
  const rendered = template("--values", `${CHART}/examples/${name}.yaml`);
  expect(normalised(rendered)).toEqual(normalised(kustomizeObjects(`overlays/${name}`)));
});

test("an API server accepts all values", async () => {
  const all = template(
    ...["--set", "image.repository=registry.example/weft,image.tag=sha256:0123,imagePullSecrets={a,b}"],
    ...["--set", "options.iface=eth1,options.attach=ptp,metrics.host=,metrics.port=9000,maxUnavailable=3"],
    ...["--set", "serviceProxy=nftables,options.masquerade-all=true,options.masquerade-bit=15"],
    ...["--set", "options.conntrack-min=1000000,guardSenders=false"],
    ...["--set", "networkPolicy.mode=enforce,networkPolicy.fail=open,networkPolicy.cutEstablished=true"],
    ...["--set", "apiServer.host=192.0.2.1,cni.binDir=/var/lib/cni/bin,cni.confDir=/etc/other,iptablesLegacy=true"],
  );
  for (const object of all) expect(await problemsOf(object), nameOf(object)).toEqual([]);
  const pod = podOf(all);
  const weftd = containerOf(pod, "weftd");
  expect(weftd.image).toBe("registry.example/weft@sha256:0123");
  expect(weftd.args.slice(2)).toEqual([
    ...[
      "--metrics-address=:9000",
      "--service-proxy=nftables",
      ...["--network-policy=enforce", "--policy-fail=open", "--policy-cut-established=true", "--guard-senders=false"],
      "--attach=ptp",
      "--conntrack-min=1000000",
      "--iface=eth1",
    ],
    ...["--masquerade-all=true", "--masquerade-bit=15"],
  ]);
  expect(weftd.readinessProbe?.httpGet).toEqual({ host: "127.0.0.1", path: "/readyz", port: 9000 });
  expect(weftd.securityContext.capabilities.add).toEqual(["NET_ADMIN", "NET_RAW"]);
  expect(pod).toMatchObject({ imagePullSecrets: [{ name: "a" }, { name: "b" }] });
  const paths = pod.volumes.flatMap(({ hostPath }) => (hostPath === undefined ? [] : [hostPath.path]));
  expect(paths).toEqual(expect.arrayContaining(["/var/lib/cni/bin", "/etc/other", "/run/xtables.lock"]));
  expect(find(all, "ConfigMap", "weft-api-server").data).toEqual({
    KUBERNETES_SERVICE_HOST: "192.0.2.1",
    KUBERNETES_SERVICE_PORT: "6443",
  });
});

test("in another namespace, its rights are for that namespace", () => {
  const text = attempt("--namespace", "kube-system").text;
  expect(text).toContain('"system:serviceaccount:kube-system:weftd"');
  expect(text).not.toMatch(/namespace: weft$/m);
});

test("the admission policy is omitted only if it is disabled", () => {
  const kinds = (objects: readonly KubeObject[]) =>
    objects.filter(({ kind }) => kind.startsWith("ValidatingAdmissionPolicy")).length;
  expect([kinds(template("--set", "admissionPolicy=false")), kinds(template())]).toEqual([0, 4]);
});

test.each([
  ["an unknown key", "netconf.Network=10.0.0.0/8", /netconf/],
  ["an unknown nested key", "image.registry=example", /registry/],
  ["an unknown backend", "netConf.Backend.Type=ipip", /Backend\/Type|Backend\.Type/],
  ["a VNI outside VXLAN's range", "netConf.Backend.VNI=16777216", /VNI/],
  ["an unknown option of weftd", "options.interface=eth1", /interface/],
  ["an option that the chart sets itself", "options.run-dir=/tmp", /run-dir/],
  ["an invalid port", "metrics.port=0", /port/],
  ["an address that is not the node's own", "metrics.host=192.0.2.1", /host/],
  ["a folder that is not an absolute path", "cni.binDir=opt/cni/bin", /binDir/],
  ["a share of zero", "maxUnavailable=0%", /maxUnavailable/],
  ["a word instead of a boolean", "iptablesLegacy=yes", /iptablesLegacy/],
  ["an unknown proxy", "serviceProxy=ipvs", /serviceProxy/],
  ["an unknown mode of policies", "networkPolicy.mode=on", /mode/],
  ["an unknown way to fail", "networkPolicy.fail=half", /fail/],
  ["no image", "image.repository=", /repository/],
])("the schema rejects %s", (_what, value, complaint) => {
  const { isGood, text } = attempt("--set", value);
  expect(isGood).toBe(false);
  expect(text).toMatch(/values don't meet the specifications of the schema/);
  expect(text).toMatch(complaint);
});

test("an API server that is too old is rejected", () => {
  const { isGood, text } = helm("template", "weft", CHART, "--kube-version", "1.29.0");
  expect(isGood).toBe(false);
  expect(text).toMatch(/requires kubeVersion: >=1\.30/);
});

const SCHEMA = JSON.parse(readFileSync(`${CHART}/values.schema.json`, "utf8")) as Schema;

describe("the schema", () => {
  test("contains weftd's flags, except those that the chart sets and those that differ from node to node", () => {
    const own = [
      "kubeconfig",
      "nodes",
      "node-name",
      "net-conf",
      "cni-conf-dir",
      "run-dir",
      "state-dir",
      "service-proxy",
      ...["network-policy", "policy-fail", "policy-cut-established", "guard-senders"],
      "proc-sys",
      "metrics-address",
    ];
    const flags = optionsCommand().options.map(({ long }) => long?.replace(/^--/, "") ?? "");
    const perNode = ["public-ip", "no-pods", "via"];
    expect(Object.keys(SCHEMA.properties?.options?.properties ?? {}).sort()).toEqual(
      flags.filter((flag) => ![...own, ...perNode].includes(flag)).sort(),
    );
    for (const option of optionsCommand().options) {
      const schema = SCHEMA.properties?.options?.properties?.[option.long?.replace(/^--/, "") ?? ""];
      if (schema !== undefined) expect(schema.enum, option.flags).toEqual(option.argChoices);
    }
  });

  test("is shown in the chart's README (vitest -u writes it)", async () => {
    const values = parse(readFileSync(`${CHART}/values.yaml`, "utf8")) as Record<string, unknown>;
    const heading = "# Values of the chart\n\nGenerated from `values.schema.json` and `values.yaml`. ";
    const readme = `${heading}[docs/install.md](../../docs/install.md) describes the installation.\n\n${formatValuesTable(SCHEMA, values)}`;
    await expect(readme).toMatchFileSnapshot(`${CHART}/README.md`);
  });
});

/** The content of conf, rendered by the real tools and validated by Kubernetes' own schemas. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { parseOptions } from "../../daemon/options.ts";
import { parseNetConf } from "../../pkg/backend/net-conf.ts";
import { CACHE_DIRECTORIES } from "../../pkg/footprint.ts";
import { mergePatch } from "../apiserver/mergepatch.ts";
import type { JsonObject } from "../apiserver/resource.ts";
import { byName, find, type KubeObject, nameOf, parseObjects } from "./objects.ts";
import { containerOf, podOf } from "./pod.ts";
import { problemsOf } from "./strict.ts";
import { CONF, kustomize, kustomizeObjects } from "./tools.ts";

/** The tests start programs of sixty megabytes and load schemas of all of Kubernetes, on a machine that may be busy. */
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const OVERLAYS = readdirSync(`${CONF}/overlays`).sort();
const FOLDERS = ["base", ...OVERLAYS.map((name) => `overlays/${name}`)];
const RENDERED = new Map(FOLDERS.map((folder) => [folder, kustomizeObjects(folder)]));
const objectsOf = (folder: string) => RENDERED.get(folder) as readonly KubeObject[];
const base = objectsOf("base");

test("the overlays are those that the documentation names", () => {
  const text = readFileSync(`${CONF}/README.md`, "utf8");
  const named = [...text.matchAll(/`overlays\/([a-z-]+)`/g)].map(([, name]) => name);
  expect([...new Set(named)].sort()).toEqual(OVERLAYS);
});

describe.each(FOLDERS)("%s", (folder) => {
  test("is valid for an API server, without unknown keys", async () => {
    for (const object of objectsOf(folder)) expect(await problemsOf(object), nameOf(object)).toEqual([]);
  });

  test("has a net-conf.json that weftd reads without a warning", () => {
    const { data } = find(objectsOf(folder), "ConfigMap", "weft-net-conf") as unknown as {
      data: Record<string, string>;
    };
    expect(Object.keys(data)).toEqual(["net-conf.json"]);
    expect(parseNetConf(data["net-conf.json"] ?? "").warnings).toEqual([]);
  });

  test("differs from the base in net-conf.json only, unless weftd takes over from flannel or from kube-proxy", () => {
    const differing = objectsOf(folder).filter(
      (object) => JSON.stringify(object) !== JSON.stringify(byName(base)[nameOf(object)]),
    );
    const expected: Readonly<Record<string, string[]>> = {
      base: [],
      "overlays/service-proxy": ["ClusterRole/weftd", "DaemonSet/weft/weftd"],
      "overlays/flannel-migration": ["ConfigMap/weft/weft-net-conf", "DaemonSet/weft/weftd"],
    };
    expect(differing.map(nameOf).sort()).toEqual(expected[folder] ?? ["ConfigMap/weft/weft-net-conf"]);
    expect(objectsOf(folder)).toHaveLength(base.length);
  });
});

test("with services, weftd reads three more kinds of objects and gets one more flag", () => {
  const [plain, services] = [base, objectsOf("overlays/service-proxy")];
  const args = (objects: readonly KubeObject[]) => containerOf(podOf(objects), "weftd").args;
  expect(args(services)).toEqual([...args(plain), "--service-proxy=nftables"]);
  expect(parseOptions([...args(services), "--node-name", "n1"]).serviceProxy).toBe("nftables");
  const rules = (objects: readonly KubeObject[]) =>
    find(objects, "ClusterRole", "weftd").rules as readonly { resources: string[]; verbs: string[] }[];
  const more = rules(services).slice(rules(plain).length);
  expect(more.flatMap(({ resources }) => resources)).toEqual(["services", "endpointslices", "servicecidrs"]);
  for (const { verbs } of more) expect(verbs).toEqual(["list", "watch"]);
  expect(containerOf(podOf(services), "weftd").securityContext).toEqual(
    containerOf(podOf(plain), "weftd").securityContext,
  );
});

test.each(["vxlan", "host-gw", "dual-stack"])("kind's %s is that overlay with services", (name) => {
  const root = `${CONF}/../test/kind/services/${name}`;
  const weftd = containerOf(podOf(parseObjects(kustomize(root))), "weftd");
  expect(weftd.args).toEqual(containerOf(podOf(objectsOf("overlays/service-proxy")), "weftd").args);
  expect(find(parseObjects(kustomize(root)), "ConfigMap", "weft-net-conf")).toEqual(
    find(objectsOf(`overlays/${name}`), "ConfigMap", "weft-net-conf"),
  );
});

test("weft.yaml equals the base (vitest -u writes it)", async () => {
  const heading = "# Made from the base, for `kubectl apply -f`: kubectl kustomize conf/base. Do not edit.\n";
  await expect(heading + kustomize("base")).toMatchFileSnapshot(`${CONF}/weft.yaml`);
});

describe("the DaemonSet's pod", () => {
  const pod = podOf(base);
  const weftd = containerOf(pod, "weftd");
  const install = containerOf(pod, "install");

  test("has no more permissions than it needs", () => {
    const least = {
      ...{ runAsUser: 0, runAsGroup: 0, privileged: false, allowPrivilegeEscalation: false },
      readOnlyRootFilesystem: true,
    };
    expect(weftd.securityContext).toEqual({ ...least, capabilities: { drop: ["ALL"], add: ["NET_ADMIN"] } });
    expect(install.securityContext).toEqual({ ...least, capabilities: { drop: ["ALL"] } });
    expect(pod).toMatchObject({ hostNetwork: true, securityContext: { seccompProfile: { type: "RuntimeDefault" } } });
    expect([pod.hostPID, pod.hostIPC]).toEqual([undefined, undefined]);
  });

  test("writes executables only in its init container, which has no token", () => {
    const writable = (mounts: typeof weftd.volumeMounts) =>
      mounts.filter(({ readOnly }) => readOnly !== true).map(({ name }) => name);
    expect(writable(install.volumeMounts)).toEqual(["cni-bin"]);
    expect(writable(weftd.volumeMounts)).toEqual(["cni-conf", "run", "state", "settings"]);
    expect(pod.automountServiceAccountToken).toBe(false);
    expect(install.volumeMounts).toHaveLength(1);
  });

  test("mounts every volume it names, and names every volume it mounts", () => {
    const mounted = [install, weftd].flatMap(({ volumeMounts }) => volumeMounts.map(({ name }) => name));
    expect(mounted.sort()).toEqual(pod.volumes.map(({ name }) => name).sort());
  });

  test("starts weftd with valid options, on files that are mounted", () => {
    const options = parseOptions([...weftd.args, "--node-name", "n1"]);
    const paths = weftd.volumeMounts.map(({ mountPath }) => mountPath);
    expect(paths).toContain(options.netConf.replace(/\/[^/]*$/, ""));
    expect(paths).toEqual(
      expect.arrayContaining([options.cniConfDir, options.runDir, options.stateDir, `${options.procSys}/net`]),
    );
  });

  test("gives weftd read access to the runtime's cached results", () => {
    for (const path of CACHE_DIRECTORIES) {
      const mount = weftd.volumeMounts.find(({ mountPath }) => `${path}/`.startsWith(`${mountPath}/`));
      const volume = pod.volumes.find(({ name }) => name === mount?.name);
      expect(volume?.hostPath?.path, path).toBe(mount?.mountPath);
      expect(mount?.readOnly, path).toBe(true);
    }
  });

  test("is probed at weftd's address", () => {
    const { metricsAddress } = parseOptions([...weftd.args, "--node-name", "n1"]);
    for (const probe of [weftd.startupProbe, weftd.livenessProbe, weftd.readinessProbe])
      expect(probe?.httpGet).toMatchObject(metricsAddress);
  });

  test("runs on every node, whatever its taints", () => {
    expect(pod.tolerations).toEqual([{ operator: "Exists" }]);
    expect(pod.nodeSelector).toEqual({ "kubernetes.io/os": "linux" });
    expect(pod.priorityClassName).toBe("system-node-critical");
  });
});

test("the patch in docs/migration.md that keeps flannel off nodes is valid for an API server", async () => {
  const text = readFileSync(`${CONF}/../docs/migration.md`, "utf8");
  const patch = JSON.parse(/--type merge -p '([^']*)'/.exec(text)?.[1] ?? "") as JsonObject;
  const daemonSet = find(base, "DaemonSet", "weftd");
  const patched = mergePatch(daemonSet as unknown as JsonObject, patch) as unknown as KubeObject;
  expect(await problemsOf(patched)).toEqual([]);
  const label = Object.keys(podOf(objectsOf("overlays/flannel-migration")).nodeSelector).find(
    (key) => key !== "kubernetes.io/os",
  );
  expect(JSON.stringify(patch)).toContain(JSON.stringify({ key: label, operator: "DoesNotExist" }));
});

test("the custom overlay in docs/install.md has its image and its network", () => {
  const folder = mkdtempSync(join(tmpdir(), "weft-overlay-"));
  try {
    const [, written = ""] =
      /```yaml\n(# my-cluster[\s\S]*?)```/.exec(readFileSync(`${CONF}/../docs/install.md`, "utf8")) ?? [];
    mkdirSync(`${folder}/my-cluster`);
    cpSync(CONF, `${folder}/conf`, { recursive: true });
    writeFileSync(`${folder}/my-cluster/kustomization.yaml`, written);
    writeFileSync(`${folder}/my-cluster/net-conf.json`, "{}");
    const objects = parseObjects(kustomize(`${folder}/my-cluster`));
    expect(containerOf(podOf(objects), "install").image).toBe("registry.example/weft:0.1.0");
    expect(containerOf(podOf(objects), "weftd").image).toBe("registry.example/weft:0.1.0");
    expect(find(objects, "ConfigMap", "weft-net-conf").data).toEqual({ "net-conf.json": "{}" });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** hack/kind with a program that simulates docker, kind and kubectl, and records its calls. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parse } from "yaml";

const REPOSITORY = resolve(".");
let folder = "";
// Each simulated command is a separate process.
vi.setConfig({ testTimeout: 120_000 });

beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/weft-kind-`);
  mkdirSync(`${folder}/bin`);
  for (const name of ["docker", "kind", "kubectl"]) symlinkSync(`${folder}/stand-in`, `${folder}/bin/${name}`);
  writeFileSync(`${folder}/stand-in`, STAND_IN);
  chmodSync(`${folder}/stand-in`, 0o755);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Fails for a line that matches $FAIL, and prints $INSTEAD for one that matches $WRONG. */
const STAND_IN = `#!${process.execPath} --no-warnings
const { appendFileSync, existsSync, readFileSync } = require("node:fs");
const { basename } = require("node:path");
const words = [basename(process.argv[1]), ...process.argv.slice(2)];
const log = process.env.LOG;
const earlier = existsSync(log) ? readFileSync(log, "utf8").trim().split("\\n").map((line) => JSON.parse(line)) : [];
appendFileSync(log, JSON.stringify(words) + "\\n");
const line = words.join(" ");
const { FAIL, WRONG, INSTEAD, REHEARSAL } = process.env;
if (FAIL && new RegExp(FAIL).test(line)) process.exit(1);
else if (WRONG && new RegExp(WRONG).test(line)) console.log(INSTEAD);
else import(REHEARSAL).then(({ imagine }) => console.log(imagine(words, earlier)));
`;

interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function kind(args: readonly string[], env: Readonly<Record<string, string>> = {}): Outcome {
  return spawnSync(process.execPath, [`${REPOSITORY}/test/kind/main.ts`, ...args], {
    cwd: folder,
    encoding: "utf8",
    env: {
      PATH: `${folder}/bin:/usr/bin:/bin`,
      LOG: `${folder}/log`,
      REHEARSAL: `${REPOSITORY}/test/kind/rehearsal.ts`,
      NODE_COMPILE_CACHE: `${REPOSITORY}/.cache/compiled-scripts`,
      ...env,
    },
  });
}

/** The commands since the last call, without what differs from run to run. */
function commands(): string[] {
  if (!existsSync(`${folder}/log`)) return [];
  const lines = readFileSync(`${folder}/log`, "utf8").trim().split("\n");
  return lines.map((line) => (JSON.parse(line) as string[]).join(" ").replaceAll(`${folder}/`, ""));
}

describe("up", () => {
  test("builds, makes a new cluster, loads the image, installs, and waits", () => {
    expect(kind(["up"])).toMatchObject({ status: 0, stdout: expect.stringContaining("export KUBECONFIG=") });
    const config = "--kubeconfig .cache/kind/weft.kubeconfig";
    expect(commands().map((line) => line.replace(folder, "."))).toEqual([
      "kind get clusters",
      "docker build --file Containerfile --tag weft:dev .",
      `kind create cluster --name weft --config test/kind/cluster-ipv4.yaml ${config}`,
      "kind load docker-image weft:dev --name weft",
      `kubectl ${config} apply --kustomize conf/overlays/vxlan`,
      `kubectl ${config} --namespace=weft rollout restart daemonset/weftd`,
      `kubectl ${config} --namespace=weft rollout status daemonset/weftd --timeout=180s`,
      `kubectl ${config} wait nodes --all --for=condition=Ready --timeout=180s`,
      `kubectl ${config} --namespace=kube-system rollout status deployment/coredns --timeout=180s`,
    ]);
  });

  test("does not touch an existing cluster of that name", () => {
    const { status, stderr } = kind(["up"], { WRONG: "^kind get clusters", INSTEAD: "other\nweft" });
    expect(status).toBe(1);
    expect(stderr).toContain('there is a kind cluster "weft" already');
    expect(commands()).toEqual(["kind get clusters"]);
  });

  test.each(["docker build", "kind create", "kind load", "apply", "rollout", "wait nodes"])(
    "stops if %s fails",
    (step) => {
      const { status, stderr } = kind(["up"], { FAIL: step });
      expect(status).toBe(1);
      expect(stderr).toContain("hack/kind: ");
      expect(commands().at(-1)).toContain(step);
    },
  );

  test("with Services, makes a cluster without kube-proxy, and configures the API server's address before weftd starts", () => {
    expect(kind(["up", "--services"])).toMatchObject({ status: 0 });
    const text = commands().join("\n");
    expect(text).toMatch(
      /cluster-ipv4-services\.yaml[\s\S]*create namespace weft[\s\S]*create configmap weft-api-server --from-literal=KUBERNETES_SERVICE_HOST=weft-control-plane --from-literal=KUBERNETES_SERVICE_PORT=6443[\s\S]*apply --kustomize test\/kind\/services\/vxlan/,
    );
    expect(kind(["e2e"])).toMatchObject({ status: 0 });
    expect(commands().join("\n")).toContain("apply --kustomize test/kind/services/host-gw");
    expect(commands().join("\n")).not.toContain("conf/overlays");
  });

  test("makes a dual-stack cluster", () => {
    kind(["up", "--dual-stack"]);
    expect(commands().join("\n")).toMatch(/cluster-dual\.yaml[\s\S]*overlays\/dual-stack/);
  });
});

describe("down", () => {
  test("removes the cluster that up has made, once", () => {
    kind(["up", "--name", "mine"]);
    expect(kind(["--name", "mine", "down"])).toMatchObject({ status: 0 });
    expect(commands().at(-1)).toBe("kind delete cluster --name mine --kubeconfig .cache/kind/mine.kubeconfig");
    expect(kind(["--name", "mine", "down"])).toMatchObject({ status: 1 });
  });

  test("removes a partly made cluster", () => {
    kind(["up"], { FAIL: "kind create" });
    expect(kind(["down"])).toMatchObject({ status: 0 });
    expect(commands().at(-1)).toContain("kind delete cluster --name weft ");
  });

  test("does not touch other clusters", () => {
    expect(kind(["down"])).toMatchObject({ status: 1, stderr: expect.stringContaining("has made no cluster") });
    expect(commands()).toEqual([]);
  });
});

describe("e2e", () => {
  test("passes on a healthy cluster, with VXLAN and then with plain routes", () => {
    const { status, stdout } = kind(["e2e"]);
    expect(stdout).toMatch(/vxlan[\s\S]*pod to pod +│ 30 of 30[\s\S]*host-gw[\s\S]*pod to pod +│ 30 of 30/);
    expect(stdout).toContain("e2e: all connections succeeded");
    expect(status).toBe(0);
  });

  test("fails with the failures, and shows the cluster's state", () => {
    const { status, stderr } = kind(["e2e"], { WRONG: "exec first-0 ", INSTEAD: "{}" });
    expect(status).toBe(1);
    expect(stderr).toMatch(/^e2e: FAILED: vxlan: pod to pod: first-0 asks http:\/\/10\.244\.2\.2:8080\/: no answer$/m);
    expect(commands().slice(-3).join("\n")).toMatch(/get nodes,pods[\s\S]*logs[\s\S]*get events/);
  });
});

test.each(["up", "e2e", "down"])("--dry-run %s prints every command and runs none", (command) => {
  const { status, stdout } = kind(["--dry-run", command]);
  expect(status).toBe(0);
  expect(stdout).toMatch(/^(kind|kubectl) /m);
  expect(commands()).toEqual([]);
  expect(existsSync(`${folder}/.cache`)).toBe(false);
});

test("a cluster with Services equals the plain one without kube-proxy", () => {
  const read = (name: string) => parse(readFileSync(`test/kind/cluster-${name}.yaml`, "utf8"));
  for (const families of ["ipv4", "dual"]) {
    const { networking, ...rest } = read(families);
    expect(read(`${families}-services`)).toEqual({ ...rest, networking: { ...networking, kubeProxyMode: "none" } });
  }
});

test("the clusters' networks are those of the overlays", () => {
  const read = (path: string) => readFileSync(path, "utf8");
  const podSubnet = (families: string) =>
    parse(read(`test/kind/cluster-${families}.yaml`)).networking.podSubnet as string;
  const network = (overlay: string) => JSON.parse(read(`conf/overlays/${overlay}/net-conf.json`));
  for (const overlay of ["vxlan", "host-gw"]) expect(network(overlay).Network).toBe(podSubnet("ipv4"));
  const { Network, IPv6Network } = network("dual-stack");
  expect(`${Network},${IPv6Network}`).toBe(podSubnet("dual"));
});

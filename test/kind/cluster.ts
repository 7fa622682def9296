/** A kind cluster without kind's own network. Removes a cluster only if it was made here. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { Tools } from "./tools.ts";

export const IMAGE = "weft:dev";
const PATIENCE = "180s";

/** The content of the marker file for a cluster without kube-proxy. */
const SERVICES = "services";

export interface Kind {
  readonly families: "ipv4" | "dual";
  /** True if weftd replaces kube-proxy. */
  readonly hasServices: boolean;
}

export class Cluster {
  readonly name: string;
  readonly kubeconfig: string;
  readonly #tools: Tools;
  readonly #root: string;
  readonly #marker: string;

  constructor(name: string, tools: Tools, root: string) {
    this.name = name;
    this.#tools = tools;
    this.#root = root;
    this.kubeconfig = `${root}/.cache/kind/${name}.kubeconfig`;
    this.#marker = `${root}/.cache/kind/${name}.ours`;
  }

  /** Throws if a cluster of that name exists: another program may own it. */
  up({ families, hasServices }: Kind, isDry: boolean): void {
    if (this.#exists())
      throw new Error(`there is a kind cluster "${this.name}" already: hack/kind down, or give another --name`);
    const overlay = families === "dual" ? "dual-stack" : "vxlan";
    this.#tools.run("docker", "build", "--file", `${this.#root}/Containerfile`, "--tag", IMAGE, this.#root);
    // Before the cluster, so that a partly made one is removed too.
    if (!isDry) this.#mark(hasServices);
    const config = `${this.#root}/test/kind/cluster-${families}${hasServices ? "-services" : ""}.yaml`;
    this.#tools.run("kind", "create", "cluster", ...this.#named, "--config", config, "--kubeconfig", this.kubeconfig);
    this.#tools.run("kind", "load", "docker-image", IMAGE, ...this.#named);
    if (hasServices) this.#nameApiServer();
    this.#apply(overlay, hasServices);
    this.kubectl("wait", "nodes", "--all", "--for=condition=Ready", `--timeout=${PATIENCE}`);
    this.kubectl("--namespace=kube-system", "rollout", "status", "deployment/coredns", `--timeout=${PATIENCE}`);
  }

  /** Applies an overlay of conf/: weftd restarts with its net-conf.json. */
  apply(overlay: string): void {
    this.#apply(overlay, existsSync(this.#marker) && readFileSync(this.#marker, "utf8") === SERVICES);
  }

  #apply(overlay: string, hasServices: boolean): void {
    const folder = hasServices ? `test/kind/services/${overlay}` : `conf/overlays/${overlay}`;
    this.kubectl("apply", "--kustomize", `${this.#root}/${folder}`);
    this.kubectl("--namespace=weft", "rollout", "restart", "daemonset/weftd");
    this.kubectl("--namespace=weft", "rollout", "status", "daemonset/weftd", `--timeout=${PATIENCE}`);
  }

  /** A new node has no route to a ClusterIP until weftd has reached the API server. */
  #nameApiServer(): void {
    const host = `KUBERNETES_SERVICE_HOST=${this.name}-control-plane`;
    this.kubectl("create", "namespace", "weft");
    this.kubectl(
      ...["--namespace=weft", "create", "configmap", "weft-api-server"],
      ...[`--from-literal=${host}`, "--from-literal=KUBERNETES_SERVICE_PORT=6443"],
    );
  }

  /** Removes the cluster. Throws if `up` has not made it: another program owns it. */
  down(isDry: boolean): void {
    if (!isDry && !existsSync(this.#marker))
      throw new Error(
        `hack/kind up has made no cluster "${this.name}" here: use "kind delete cluster" for other clusters`,
      );
    this.#tools.run("kind", "delete", "cluster", ...this.#named, "--kubeconfig", this.kubeconfig);
    if (!isDry) for (const file of [this.kubeconfig, this.#marker]) rmSync(file, { force: true });
  }

  kubectl(...args: readonly string[]): void {
    this.#tools.run("kubectl", "--kubeconfig", this.kubeconfig, ...args);
  }

  askKubectl(...args: readonly string[]): string {
    return this.#tools.ask("kubectl", "--kubeconfig", this.kubeconfig, ...args);
  }

  askNode(node: string, ...args: readonly string[]): string {
    return this.#tools.ask("docker", "exec", node, ...args);
  }

  get #named(): string[] {
    return ["--name", this.name];
  }

  #exists(): boolean {
    return this.#tools.ask("kind", "get", "clusters").split("\n").includes(this.name);
  }

  #mark(hasServices: boolean): void {
    mkdirSync(`${this.#root}/.cache/kind`, { recursive: true });
    writeFileSync(this.#marker, hasServices ? SERVICES : "");
  }
}

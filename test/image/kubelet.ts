/**
 * Does kubelet's work for the pod of weft's DaemonSet on one node: makes its volumes and its environment, runs its init
 * container to the end and then weftd, each by runc, and sends its probes. A node's folders are below the test's
 * folder.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import type { HttpAnswer } from "../live/harness/agent.ts";
import type { Cleanup } from "../live/harness/cleanup.ts";
import type { Machine } from "../live/harness/cluster.ts";
import { type Outcome, run } from "../live/harness/command.ts";
import { OWN_PREFIX, removeCgroups } from "../live/harness/leftovers.ts";
import { Running } from "../live/harness/process.ts";
import { find, type KubeObject } from "../manifests/objects.ts";
import { type Container, containerOf, type Pod, type Probe, podOf } from "../manifests/pod.ts";
import { RUNTIMES } from "../runtimes/machine.ts";
import { runtimeConfig } from "./bundle.ts";

const RUNC = `${RUNTIMES}/usr/sbin/runc`;

export interface KubeletOptions {
  /** The rendered manifests. */
  readonly objects: readonly KubeObject[];
  /** The image's unpacked root file system. */
  readonly root: string;
  /** The content of the ConfigMap weft-api-server, which the manifests use and do not create. */
  readonly apiServer: { readonly host: string; readonly port: number };
}

export class Kubelet {
  readonly machine: Machine;
  /** The part of the node's file system that the pod mounts. */
  readonly #host: string;
  readonly #folder: string;
  readonly #options: KubeletOptions;
  readonly #cleanup: Cleanup;
  readonly #pod: Pod;
  #configMapVersion = 0;
  #containers = 0;

  constructor(machine: Machine, folder: string, options: KubeletOptions, cleanup: Cleanup) {
    if (!existsSync(RUNC)) throw new Error(`${RUNC} is missing: run hack/setup runtimes`);
    this.machine = machine;
    this.#folder = folder;
    this.#host = `${folder}/host`;
    this.#options = options;
    this.#cleanup = cleanup;
    this.#pod = podOf(options.objects);
    cleanup.push(() => removeCgroups(this.#cgroup));
    this.#makeToken();
    const { data } = find(options.objects, "ConfigMap", "weft-net-conf") as unknown as {
      data: Record<string, string>;
    };
    this.writeConfigMap(data);
  }

  get #cgroup(): string {
    return `${OWN_PREFIX}${this.machine.name}`;
  }

  /** The folder in which the plugins are installed. */
  get binDir(): string {
    return `${this.#host}/opt/cni/bin`;
  }

  /** Runs the init container to its end. */
  install(): Promise<Outcome> {
    const container = containerOf(this.#pod, "install");
    return run("nsenter", [`--net=${this.machine.namespace.path}`, RUNC, ...this.#runArguments(container)]);
  }

  /** Starts weftd's container. A signal to the returned process ends it. */
  start(): Running {
    const container = containerOf(this.#pod, "weftd");
    return new Running(this.machine.namespace, RUNC, this.#runArguments(container), this.#cleanup);
  }

  /** `kubectl exec` into the most recently started container, with its rights. */
  exec(...command: readonly string[]): Promise<Outcome> {
    const id = `${this.#cgroup}-${this.#containers}`;
    return run(RUNC, ["--root", `${this.#folder}/runc`, "exec", id, ...command]);
  }

  /** The answer to the node's probe of this kind. */
  async probe(kind: "startupProbe" | "livenessProbe" | "readinessProbe"): Promise<HttpAnswer> {
    const { httpGet } = containerOf(this.#pod, "weftd")[kind] as Probe;
    return await this.machine.inside.ask(`http://${httpGet.host}:${httpGet.port}${httpGet.path}`);
  }

  /**
   * Projects a ConfigMap like kubelet (AtomicWriter): each version has its own folder, and a link changes atomically to
   * the newest.
   */
  writeConfigMap(data: Readonly<Record<string, string>>): void {
    const volume = `${this.#folder}/volumes/net-conf`;
    this.#configMapVersion += 1;
    const version = `..2026_11_21_${this.#configMapVersion}`;
    mkdirSync(`${volume}/${version}`, { recursive: true });
    for (const [key, text] of Object.entries(data)) {
      writeFileSync(`${volume}/${version}/${key}`, text);
      if (!existsSync(`${volume}/${key}`)) symlinkSync(`..data/${key}`, `${volume}/${key}`);
    }
    symlinkSync(version, `${volume}/..data_tmp`);
    renameSync(`${volume}/..data_tmp`, `${volume}/..data`);
  }

  /** The process ids, on this machine, of the node's containers. */
  processes(): readonly number[] {
    const { name } = this.machine;
    const procs = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids"].map(
      (hierarchy) => `${hierarchy}/${OWN_PREFIX}${name}/container-${this.#containers}/cgroup.procs`,
    );
    const found = procs.find((path) => existsSync(path));
    if (found === undefined) throw new Error(`no cgroup at ${procs.join(" or ")}`);
    return readFileSync(found, "utf8").trim().split("\n").map(Number);
  }

  #runArguments(container: Container): string[] {
    this.#containers += 1;
    const bundle = `${this.#folder}/bundle-${this.#containers}`;
    mkdirSync(bundle, { recursive: true });
    const config = runtimeConfig(container, {
      root: this.#options.root,
      networkNamespace: this.machine.namespace.path,
      volumes: Object.fromEntries(this.#pod.volumes.map(({ name }) => [name, this.#sourceOf(name)])),
      environment: container.env === undefined ? {} : this.#environmentOf(container),
      cgroup: `/${this.#cgroup}/container-${this.#containers}`,
    });
    writeFileSync(`${bundle}/config.json`, JSON.stringify(config));
    const id = `${this.#cgroup}-${this.#containers}`;
    return ["--root", `${this.#folder}/runc`, "run", "--bundle", bundle, id];
  }

  /** The folder of a volume: the node's, or one that kubelet makes. */
  #sourceOf(name: string): string {
    const path = this.#pod.volumes.find((volume) => volume.name === name)?.hostPath?.path;
    if (path === undefined) return `${this.#folder}/volumes/${name}`;
    // The kernel's own file system shows each process the settings of its network namespace.
    if (path.startsWith("/proc/")) return path;
    const { confDir, stateDir } = this.machine;
    const places = [
      ["/etc/cni/net.d", confDir],
      ["/var/lib/cni", stateDir],
      ["", this.#host],
    ] as const;
    const [from, to] = places.find(([start]) => path.startsWith(start)) ?? places[2];
    const source = `${to}${path.slice(from.length)}`;
    if (path.endsWith(".lock")) {
      mkdirSync(resolve(source, ".."), { recursive: true });
      writeFileSync(source, "", { flag: "a" });
    } else mkdirSync(source, { recursive: true });
    return source;
  }

  #environmentOf({ env = [] }: Container): Record<string, string> {
    const { host, port } = this.#options.apiServer;
    const values = env.map(({ name, value, valueFrom }) => {
      if (value !== undefined) return [name, value];
      const { fieldRef } = valueFrom as { fieldRef?: { fieldPath: string } };
      if (fieldRef?.fieldPath !== "spec.nodeName") throw new Error(`${name}: only spec.nodeName is supported here`);
      return [name, this.machine.name];
    });
    return { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: String(port), ...Object.fromEntries(values) };
  }

  #makeToken(): void {
    const volume = `${this.#folder}/volumes/api-access`;
    mkdirSync(volume, { recursive: true });
    // The test API server accepts this as a token bound to a pod on this node.
    writeFileSync(`${volume}/token`, `weftd-on-${this.machine.name}`);
    writeFileSync(`${volume}/namespace`, "weft");
    writeFileSync(`${volume}/ca.crt`, readFileSync(new URL("../vectors/tls/ca.crt", import.meta.url)));
  }
}

/** The unpacked image, and nodes on which a kubelet runs the DaemonSet's pod from it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import type { Cleanup } from "../live/harness/cleanup.ts";
import { Cluster, type Machine, type Node } from "../live/harness/cluster.ts";
import { succeed } from "../live/harness/command.ts";
import { makeFolder } from "../live/harness/folder.ts";
import { Runtime } from "../live/harness/runtime.ts";
import type { KubeObject } from "../manifests/objects.ts";
import { kustomize, kustomizeObjects } from "../manifests/tools.ts";
import { Kubelet } from "./kubelet.ts";

/** Makes the image as hack/image does, and unpacks its layers on top of each other. Returns the folder. */
export async function unpackImage(cleanup: Cleanup): Promise<string> {
  const folder = makeFolder("image", cleanup);
  const [archive, parts, root] = ["weft.tar", "parts", "root"].map((name) => `${folder}/${name}`) as [
    string,
    string,
    string,
  ];
  await succeed(process.execPath, ["hack/imaging/main.ts", "--out", archive]);
  for (const made of [parts, root]) mkdirSync(made);
  await succeed("tar", ["-xf", archive, "-C", parts]);
  const [{ Layers: layers }] = JSON.parse(readFileSync(`${parts}/manifest.json`, "utf8")) as [{ Layers: string[] }];
  for (const layer of layers) await succeed("tar", ["-xzf", `${parts}/${layer}`, "-C", root]);
  return root;
}

export interface ImageNode {
  readonly node: Node;
  readonly kubelet: Kubelet;
}

/** A cluster with the objects of a folder of conf. */
export class ImageBed {
  readonly cluster: Cluster;
  readonly #cleanup: Cleanup;
  readonly #folder: string;
  readonly #root: string;
  readonly #objects: readonly KubeObject[];

  private constructor(cluster: Cluster, cleanup: Cleanup, folder: string, root: string, manifests: string) {
    this.cluster = cluster;
    this.#cleanup = cleanup;
    this.#folder = folder;
    this.#root = root;
    this.#objects = kustomizeObjects(manifests);
  }

  static async make(root: string, manifests: string, cleanup: Cleanup): Promise<ImageBed> {
    const folder = makeFolder("bed", cleanup);
    const rbac = `${folder}/rbac.yaml`;
    writeFileSync(rbac, kustomize(manifests));
    const cluster = await Cluster.start("vxlan", cleanup, { rbac });
    return new ImageBed(cluster, cleanup, folder, root, manifests);
  }

  /**
   * A node whose kubelet has installed the plugins and started weftd, and whose runtime finds the installed files.
   * `prepare` runs before.
   */
  async join(number: number, prepare: (machine: Machine) => Promise<void> = async () => undefined): Promise<ImageNode> {
    const { cluster } = this;
    const machine = await cluster.addMachine(number);
    const folder = `${this.#folder}/${number}`;
    await mountRun(machine, `${folder}/host/run`);
    await prepare(machine);
    const options = { objects: this.#objects, root: this.#root, apiServer: cluster.apiAddress };
    const kubelet = new Kubelet(machine, folder, options, this.#cleanup);
    const { status, stderr } = await kubelet.install();
    if (status !== 0) throw new Error(`the init container of ${machine.name} failed: ${stderr}`);
    const weftd = kubelet.start();
    const node: Node = { ...machine, runtime: new Runtime(machine.inside, machine.confDir, kubelet.binDir), weftd };
    cluster.nodes.push(node);
    return { node, kubelet };
  }
}

/**
 * The conflist refers to /run/weft. In the node's mounts, /run is a private folder with the network namespaces in it.
 */
async function mountRun({ inside }: Machine, run: string): Promise<void> {
  mkdirSync(`${run}/netns`, { recursive: true });
  const script = 'mount --rbind /run/netns "$0/netns" && mount --rbind "$0" /run';
  await inside.succeed("sh", ["-euc", script, run]);
}

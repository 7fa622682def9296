/**
 * Does what a container runtime does with a conflist: uses the highest common version, attaches the loopback network
 * first, calls each plugin with the result so far, keeps the result for CHECK and DEL, and calls DEL in reverse order.
 */
import { readdirSync, readFileSync } from "node:fs";
import type { Inside } from "./inside.ts";

type Json = Record<string, unknown>;

interface Conflist {
  readonly name: string;
  readonly cniVersion: string;
  readonly cniVersions?: readonly string[];
  readonly plugins: readonly (Json & { readonly type: string })[];
}

export interface CniResult {
  readonly ips: readonly { readonly address: string }[];
}

/** The pod that runtimes name in CNI_ARGS. */
export interface RuntimePod {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
}

const NO_POD: RuntimePod = { namespace: "default", name: "pod" };

/** A plugin's error result. */
export class CniFailure extends Error {
  readonly code: number;
  constructor(plugin: string, verb: string, output: string) {
    const error = parse(output) as { code?: number; msg?: string };
    super(`${verb} of ${plugin}: ${error.msg ?? output}`);
    this.code = error.code ?? 0;
  }
}

const LOOPBACK: Conflist = { name: "cni-loopback", cniVersion: "0.3.1", plugins: [{ type: "loopback" }] };
const SPOKEN = "1.1.0";

export class Runtime {
  readonly #node: Inside;
  readonly #confDir: string;
  readonly #binDir: string;
  readonly #results = new Map<
    string,
    { readonly conflist: Conflist; readonly result: unknown; readonly pod: RuntimePod }
  >();

  constructor(node: Inside, confDir: string, binDir: string) {
    this.#node = node;
    this.#confDir = confDir;
    this.#binDir = binDir;
  }

  /** The first conflist by name, as containerd chooses it. */
  conflist(): Conflist {
    const [name] = readdirSync(this.#confDir)
      .filter((file) => file.endsWith(".conflist"))
      .sort();
    if (name === undefined) throw new Error(`no conflist in ${this.#confDir}: the node cannot serve`);
    return JSON.parse(readFileSync(`${this.#confDir}/${name}`, "utf8")) as Conflist;
  }

  /** Returns the result, and the total time of the network's own plugins. */
  async add(
    containerId: string,
    netns: string,
    pod: RuntimePod = NO_POD,
  ): Promise<{ readonly result: CniResult; readonly ms: number }> {
    await this.#chain("ADD", LOOPBACK, containerId, netns, "lo", pod);
    const conflist = this.conflist();
    const added = await this.#chain("ADD", conflist, containerId, netns, "eth0", pod);
    this.#results.set(containerId, { conflist, result: added.result, pod });
    return added;
  }

  async check(containerId: string, netns: string): Promise<void> {
    const { conflist, result, pod } = this.#cached(containerId);
    await this.#chain("CHECK", conflist, containerId, netns, "eth0", pod, result);
  }

  async del(containerId: string, netns: string): Promise<void> {
    const { conflist, result, pod } = this.#cached(containerId);
    const reversed = { ...conflist, plugins: [...conflist.plugins].reverse() };
    await this.#chain("DEL", reversed, containerId, netns, "eth0", pod, result);
    await this.#chain("DEL", LOOPBACK, containerId, netns, "lo", pod);
    this.#results.delete(containerId);
  }

  /** DEL after the runtime has lost its state of the container: with the current conflist, without a result. */
  async forget(containerId: string, netns: string): Promise<void> {
    const conflist = this.conflist();
    const reversed = { ...conflist, plugins: [...conflist.plugins].reverse() };
    await this.#chain("DEL", reversed, containerId, netns, "eth0", NO_POD);
    this.#results.delete(containerId);
  }

  async status(): Promise<void> {
    await this.#chain("STATUS", this.conflist(), "", "", "", NO_POD);
  }

  #cached(containerId: string) {
    const cached = this.#results.get(containerId);
    if (cached === undefined) throw new Error(`${containerId} was never added`);
    return cached;
  }

  async #chain(
    verb: string,
    conflist: Conflist,
    containerId: string,
    netns: string,
    ifName: string,
    { namespace, name, uid }: RuntimePod,
    previous?: unknown,
  ) {
    const uidArgument = uid === undefined ? "" : `;K8S_POD_UID=${uid}`;
    const cniVersion = conflist.cniVersions?.includes(SPOKEN) ? SPOKEN : conflist.cniVersion;
    let prevResult = previous;
    let ms = 0;
    for (const plugin of conflist.plugins) {
      const conf = { ...plugin, name: conflist.name, cniVersion, ...(prevResult === undefined ? {} : { prevResult }) };
      const outcome = await this.#node.run(`${this.#binDir}/${plugin.type}`, [], JSON.stringify(conf), {
        ...{
          CNI_COMMAND: verb,
          CNI_CONTAINERID: containerId,
          CNI_NETNS: netns,
          CNI_IFNAME: ifName,
          CNI_PATH: this.#binDir,
        },
        ...{
          CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name}${uidArgument}`,
          PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        },
      });
      if (outcome.status !== 0) throw new CniFailure(plugin.type, verb, outcome.stdout || outcome.stderr);
      ms += outcome.ms;
      if (verb === "ADD") prevResult = parse(outcome.stdout);
    }
    return { result: prevResult as CniResult, ms };
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

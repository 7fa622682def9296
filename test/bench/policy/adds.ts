/** ADDs of a pod that weftd knows, with and without its policies in turn. */
import { Cleanup } from "../../live/harness/cleanup.ts";
import { makeFolder } from "../../live/harness/folder.ts";
import { OURS, PluginBed } from "../../live/harness/plugin-bed.ts";
import { NodeChild } from "./node-child.ts";
import { keyOf, type PopulationSize, populate } from "./population.ts";

/** In milliseconds, in order: one ADD of each kind is a pair. */
export interface AddTimes {
  readonly without: readonly number[];
  readonly with: readonly number[];
}

const WARM_UP = 5;
const IPAM = {
  ...{ type: "host-local", ranges: [[{ subnet: "10.22.0.0/16" }], [{ subnet: "fd00:22::/64" }]] },
  routes: [{ dst: "0.0.0.0/0" }, { dst: "::/0" }],
};

export async function timeAdds(size: PopulationSize, pairs: number): Promise<AddTimes> {
  const cleanup = new Cleanup();
  try {
    const bed = await PluginBed.make();
    cleanup.push(() => bed.close());
    const child = new NodeChild(`/proc/${bed.node.pid}/ns/net`, cleanup);
    await child.carryOut({ do: "cold", size });
    const socket = `${makeFolder("policy", cleanup)}/policy.sock`;
    await child.carryOut({ do: "serve", path: socket });
    const population = populate(size);
    const pod = population.pod(population.local[0] ?? 0);
    const [namespace, name] = keyOf(pod).split("/");
    const args = `IgnoreUnknown=1;K8S_POD_NAMESPACE=${namespace};K8S_POD_NAME=${name};K8S_POD_UID=${pod.metadata.uid}`;
    const once = async (more: object): Promise<number> => {
      const configuration = {
        cniVersion: "1.1.0",
        name: "net",
        type: "bridge",
        isDefaultGateway: true,
        ipam: IPAM,
        ...more,
      };
      const env = {
        ...{ CNI_COMMAND: "ADD", CNI_CONTAINERID: "c1", CNI_NETNS: bed.podNamespace.path, CNI_IFNAME: "eth0" },
        ...{ CNI_PATH: OURS, CNI_ARGS: args, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      };
      const { status, stdout, ms } = await bed.node.run(`${OURS}/bridge`, [], JSON.stringify(configuration), env);
      if (status !== 0) throw new Error(`ADD: ${stdout}`);
      const prevResult = JSON.parse(stdout);
      await bed.call(OURS, "bridge", "DEL", { ...configuration, prevResult }, { args });
      await child.carryOut({ do: "detach" });
      return ms;
    };
    const times = { without: [] as number[], with: [] as number[] };
    const kinds = [
      ["without", {}],
      ["with", { networkPolicy: { socket, fail: "closed" } }],
    ] as const;
    for (let pair = -WARM_UP; pair < pairs; pair++) {
      for (const [kind, more] of pair % 2 === 0 ? kinds : kinds.toReversed()) {
        const ms = await once(more);
        if (pair >= 0) times[kind].push(ms);
      }
    }
    return times;
  } finally {
    await cleanup.run();
  }
}

/** Finds a pod's addresses by its name, in the results of ADD that the runtime caches (libcni). */
import { CACHE_DIRECTORIES } from "../../pkg/footprint.ts";
import { type Address, type Family, parseAddress } from "../../pkg/ip/address.ts";
import type { System } from "../../pkg/sys/system.ts";
import { namesIn } from "../node/networks.ts";

/** The parts of a cached result that are read here. */
interface Cached {
  readonly cniArgs?: readonly (readonly [string, string])[];
  readonly result?: { readonly ips?: readonly { readonly address?: string }[] };
}

/** Returns the address of a pod of this node. Undefined if the runtime has no result with that name and family. */
export function addressOfPod(system: System, namespace: string, name: string, family: Family): Address | undefined {
  for (const directory of CACHE_DIRECTORIES) {
    for (const file of namesIn(system, directory)) {
      const { cniArgs = [], result } = readCached(system, `${directory}/${file}`);
      const args = new Map(cniArgs);
      if (args.get("K8S_POD_NAMESPACE") !== namespace || args.get("K8S_POD_NAME") !== name) continue;
      const addresses = (result?.ips ?? []).map(({ address = "" }) => parseAddress(address.replace(/\/.*$/, "")));
      const found = addresses.find((address) => address.family === family);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

/** Returns an empty result if the file is incomplete or was just removed. */
function readCached(system: System, path: string): Cached {
  try {
    const content: unknown = JSON.parse(new TextDecoder().decode(system.readFile(path)));
    return typeof content === "object" && content !== null ? content : {};
  } catch {
    return {};
  }
}

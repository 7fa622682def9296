/**
 * The chained executables `vxlan` and `host-gw`: they tie a pod's life to its node's network. weftd owns the peers; while
 * it lives they only look that the node can serve. Without it they put back what the node table says and the kernel
 * lacks, and never remove a peer. prevResult is passed on as it came.
 */
import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import type { Plugin, Request } from "../cni/plugin.ts";
import { planDataPath } from "../kernel/data-path.ts";
import { findLink, readObserved } from "../kernel/read.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { isExists } from "../netlink/errors.ts";
import { isSystemError } from "../sys/errors.ts";
import { type DesiredState, desiredState } from "./desired.ts";
import { inlineDesired } from "./inline.ts";
import {
  BOOT_ID_FILE,
  LOCK_FILE,
  parseNodeTable,
  parseStamp,
  SOCKET_FILE,
  STAMP_FILE,
  type Stamp,
  TABLE_FILE,
} from "./node-table.ts";

export type BackendType = "vxlan" | "host-gw";

const DEFAULT_RUN_DIR = "/run/weft";
/** A device that is missing is made in the first round and programmed in the second; a third is for a race. */
const ROUNDS = 3;

export function chainedPlugin(name: BackendType, about: string): Plugin {
  return {
    name,
    about,
    add(request) {
      const result = request.requirePrevResult();
      withHost(request, (host) => provide(request, name, host));
      return result;
    },
    // Attachments leave no trace here: peers are the node's, and stay.
    del: () => undefined,
    gc: () => undefined,
    check(request) {
      request.requirePrevResult();
      if (hasInlinePeers(request)) return;
      withHost(request, (host) => assertDevices(readStamp(request, name), host));
    },
    status(request) {
      if (!hasInlinePeers(request)) assertHasServed(request, name);
    },
  };
}

function withHost(request: Request, work: (host: BlockingNetlink) => void): void {
  const host = openRoute(request.system);
  try {
    work(host);
  } finally {
    host.close();
  }
}

function runDirOf({ config }: Request): string {
  return config.optionalString("runDir") || DEFAULT_RUN_DIR;
}

function hasInlinePeers({ config }: Request): boolean {
  return config.has("peers");
}

function provide(request: Request, backend: BackendType, host: BlockingNetlink): void {
  if (hasInlinePeers(request)) {
    program(host, (observed) => inlineDesired(request, backend, observed));
    return;
  }
  const stamp = readStamp(request, backend);
  const runDir = runDirOf(request);
  // Constant cost, whatever the number of peers: weftd holds them, and puts back what goes missing.
  if (request.system.isSocketAlive(`${runDir}/${SOCKET_FILE}`)) {
    assertDevices(stamp, host);
    return;
  }
  const lock = request.system.lockFile(`${runDir}/${LOCK_FILE}`);
  try {
    programTable(request, host, stamp);
  } finally {
    lock?.release();
  }
}

function later(message: string, cause?: unknown): CniError {
  return new CniError(ErrorCode.tryAgainLater, message, { cause });
}

/** A stamp of this boot, of a format we know, for this backend. Throws `CniError` 11. */
function readStamp(request: Request, backend: BackendType): Stamp {
  const path = `${runDirOf(request)}/${STAMP_FILE}`;
  const stamp = readFile(request, path, parseStamp);
  assertThisBoot(request, path, stamp.bootId);
  if (stamp.backend !== backend) {
    throw later(
      `this node's backend is ${stamp.backend}, not ${backend}: weftd is about to rewrite the network configuration`,
    );
  }
  return stamp;
}

class NeverServedError extends CniError {}

function readFile<T>(request: Request, path: string, parse: (bytes: Uint8Array) => T): T {
  let bytes: Uint8Array;
  try {
    bytes = request.system.readFile(path);
  } catch (error) {
    if (!isSystemError(error, "ENOENT", "ENOTDIR")) throw later(`cannot read ${path}: ${messageOf(error)}`, error);
    throw new NeverServedError(
      ErrorCode.tryAgainLater,
      `weftd has not served on this node since it booted (${path} is missing): wait until it is ready, or look at its log`,
    );
  }
  try {
    return parse(bytes);
  } catch (error) {
    throw later(`${path}: ${messageOf(error)}: weftd writes it anew when it starts`, error);
  }
}

function assertThisBoot({ system }: Request, path: string, bootId: string): void {
  const now = new TextDecoder().decode(system.readFile(BOOT_ID_FILE)).trim();
  if (bootId === now) return;
  throw new NeverServedError(
    ErrorCode.tryAgainLater,
    `${path} is of an earlier boot: wait until weftd is ready, or look at its log`,
  );
}

function assertDevices({ devices }: Stamp, host: BlockingNetlink): void {
  for (const name of devices) {
    const state = findLink(host, name);
    if (state?.isUp !== true) {
      throw later(`the device ${name} is ${state === undefined ? "missing" : "down"}: weftd puts it back; try again`);
    }
  }
}

/**
 * Runtimes make the node NotReady on an error here, and Kubernetes then evicts its pods: only a node that has never been
 * able to serve since it booted says 50. A weftd that is dead, restarting or cut off from the API changes nothing.
 */
function assertHasServed(request: Request, backend: BackendType): void {
  try {
    readStamp(request, backend);
  } catch (error) {
    if (error instanceof NeverServedError) throw new CniError(ErrorCode.notAvailable, error.message, { cause: error });
  }
}

function programTable(request: Request, host: BlockingNetlink, stamp: Stamp): void {
  const path = `${runDirOf(request)}/${TABLE_FILE}`;
  const table = readFile(request, path, parseNodeTable);
  if (table.bootId !== stamp.bootId)
    throw later(`${path} and ${STAMP_FILE} are of different boots: wait until weftd is ready`);
  program(host, (macs) => desiredState(table.conf, table.node, table.peers, macs.macs));
}

/** What a desired state is made from, besides configuration. */
export interface Surroundings {
  /** Hardware addresses of the VXLAN devices that exist, by name. */
  readonly macs: ReadonlyMap<string, string>;
  readonly observed: ReturnType<typeof readObserved>;
}

function program(host: BlockingNetlink, desire: (surroundings: Surroundings) => DesiredState): void {
  for (let round = 1; ; round++) {
    const observed = readObserved(host);
    const macs = new Map(observed.links.filter(({ kind }) => kind === "vxlan").map(({ name, mac }) => [name, mac]));
    const plan = planDataPath(desire({ macs, observed }).dataPath, observed, { keep: true });
    const refused = host
      .exchange(plan.requests)
      .flatMap(({ error }) => (error === undefined || isExists(error) ? [] : [error]));
    if (refused.length > 0)
      throw later(`cannot restore the way to other nodes' pods: ${refused.map(messageOf).join("; ")}`, refused[0]);
    if (plan.isComplete) return;
    if (round === ROUNDS) throw later("the VXLAN device vanishes as soon as it is made: another program removes it");
  }
}

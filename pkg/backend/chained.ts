/**
 * The chained executables of backends (`vxlan`, `host-gw`): they tie a pod's life to its node's network. weftd owns the peers; while
 * it lives they only look that the node can serve. Without it they put back what the node table says and the kernel
 * lacks, and never remove a peer. prevResult is passed on as it came.
 */

import { CniError, ErrorCode, messageOf } from "../cni/errors.ts";
import type { CniRequest, Plugin } from "../cni/plugin.ts";
import { DEFAULT_RUN_DIR, LOCK_FILE, SOCKET_FILE, STAMP_FILE, TABLE_FILE } from "../footprint.ts";
import { findLink } from "../kernel/read.ts";
import { type KernelSnapshot, readSnapshot } from "../kernel/snapshot.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import { isExists } from "../netlink/errors.ts";
import { type DataPath, planDataPath } from "../reconcile/data-path.ts";
import { readBootId } from "../sys/boot.ts";
import { isSystemError } from "../sys/errors.ts";
import type { Backend } from "./contract.ts";
import { contributionsOf, knownDevices, pathOf } from "./contributions.ts";
import { inlineContributions } from "./inline.ts";
import { parseNodeTable, parseStamp, type Stamp } from "./node-table.ts";

/** A device that is missing is made in the first round and programmed in the second; a third is for a race. */
const ROUNDS = 3;

/** Its name is the backend's `executable`. */
export function chainedPlugin(backend: Backend, about: string): Plugin {
  return {
    name: backend.executable ?? backend.name,
    about,
    add(request) {
      const result = request.requirePrevResult();
      withHost(request, (host) => provide(request, backend, host));
      return result;
    },
    // Attachments leave no trace here: peers are the node's, and stay.
    del: forgetScratch,
    gc: () => undefined,
    check(request) {
      request.requirePrevResult();
      withHost(request, (host) => {
        if (hasInlinePeers(request)) assertHolds(host, inlineDesire(request, backend));
        // Whatever the backend is today: a pod of before it was changed is connected by it as well.
        else assertDevices(readStamp(request), host);
      });
    },
    status(request) {
      if (!hasInlinePeers(request)) assertHasServed(request);
    },
  };
}

/** A pod that flannel attached, before weftd took the node over, still has its file there. */
function forgetScratch({ system, config, containerId }: CniRequest): void {
  const directory = config.optionalString("flannelDataDir");
  if (directory === undefined || directory === "") return;
  try {
    system.unlink(`${directory}/${containerId}`);
  } catch (error) {
    if (!isSystemError(error, "ENOENT", "ENOTDIR")) throw error;
  }
}

function withHost(request: CniRequest, work: (host: BlockingNetlink) => void): void {
  const host = openRoute(request.system);
  try {
    work(host);
  } finally {
    host.close();
  }
}

function runDirOf({ config }: CniRequest): string {
  return config.optionalString("runDir") || DEFAULT_RUN_DIR;
}

function hasInlinePeers({ config }: CniRequest): boolean {
  return config.has("peers");
}

function provide(request: CniRequest, backend: Backend, host: BlockingNetlink): void {
  if (hasInlinePeers(request)) {
    program(host, inlineDesire(request, backend));
    return;
  }
  // Only the stamp, not the table: while weftd lives, an ADD takes the same time with ten peers and with ten thousand.
  const stamp = readStamp(request);
  if (stamp.backend !== backend.name) {
    throw later(
      `this node's backend is ${stamp.backend}, not ${backend.name}: weftd is about to rewrite the network configuration`,
    );
  }
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

/** A stamp of this boot, of a format we know. Throws `CniError` 11. */
function readStamp(request: CniRequest): Stamp {
  const path = `${runDirOf(request)}/${STAMP_FILE}`;
  const stamp = readFile(request, path, parseStamp);
  assertThisBoot(request, path, stamp.bootId);
  return stamp;
}

class NeverServedError extends CniError {}

function readFile<T>(request: CniRequest, path: string, parse: (bytes: Uint8Array) => T): T {
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

function assertThisBoot({ system }: CniRequest, path: string, bootId: string): void {
  if (bootId === readBootId(system)) return;
  throw new NeverServedError(
    ErrorCode.tryAgainLater,
    `${path} is of an earlier boot: wait until weftd is ready, or look at its log`,
  );
}

function assertDevices({ devices }: Stamp, host: BlockingNetlink): void {
  for (const name of devices) {
    const state = findLink(host, name);
    if (state?.isUp !== true) {
      throw later(
        `the device ${name}, which leads to other nodes, is ${state === undefined ? "missing" : "down"}: weftd puts back ` +
          "what is its own (look at its log), the node's own interface is the operator's",
      );
    }
  }
}

/**
 * Runtimes make the node NotReady on an error here, and Kubernetes then evicts its pods: only a node that has never been
 * able to serve since it booted says 50. A weftd that is dead, restarting or cut off from the API changes nothing.
 */
function assertHasServed(request: CniRequest): void {
  try {
    readStamp(request);
  } catch (error) {
    if (error instanceof NeverServedError) throw new CniError(ErrorCode.notAvailable, error.message, { cause: error });
  }
}

function programTable(request: CniRequest, host: BlockingNetlink, stamp: Stamp): void {
  const path = `${runDirOf(request)}/${TABLE_FILE}`;
  const table = readFile(request, path, parseNodeTable);
  if (table.bootId !== stamp.bootId)
    throw later(`${path} and ${STAMP_FILE} are of different boots: wait until weftd is ready`);
  program(host, ({ links }) => {
    const known = knownDevices(links, table.deviceMacs);
    return pathOf(contributionsOf(table.conf, table.node, table.peers, known));
  });
}

/** What the kernel should hold, given what it holds. */
type Desire = (observed: KernelSnapshot) => DataPath;

function inlineDesire(request: CniRequest, backend: Backend): Desire {
  return (observed) => pathOf(inlineContributions(request, backend, observed));
}

function program(host: BlockingNetlink, desire: Desire): void {
  for (let round = 1; ; round++) {
    const observed = readSnapshot(host);
    const plan = planDataPath(desire(observed), observed, { keep: true });
    const refused = host
      .exchange(plan.requests)
      .flatMap(({ error }) => (error === undefined || isExists(error) ? [] : [error]));
    const obstacles = [...refused.map(messageOf), ...plan.conflicts];
    if (obstacles.length > 0)
      throw later(`cannot restore the way to other nodes' pods: ${obstacles.join("; ")}`, refused[0]);
    if (plan.isComplete) return;
    if (round === ROUNDS)
      throw later("the device that leads to other nodes vanishes as soon as it is made: another program removes it");
  }
}

function assertHolds(host: BlockingNetlink, desire: Desire): void {
  const observed = readSnapshot(host);
  const { requests, conflicts } = planDataPath(desire(observed), observed, { keep: true });
  const missing = [...requests.map(({ text }) => text), ...conflicts];
  if (missing.length > 0) throw later(`the way to other nodes' pods is not as it should be: ${missing.join("; ")}`);
}

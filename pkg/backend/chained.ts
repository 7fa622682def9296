/**
 * The backends' chained executables (`vxlan`, `host-gw`). They ensure that a pod is attached only if its node can reach
 * the peers. weftd manages the peers; while it runs, the executables only check that the node can serve. Without weftd
 * they add the entries of the node table that the kernel lacks, and never remove a peer. prevResult is returned
 * unchanged.
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

/** The first round creates a missing device, the second programs its entries. The third allows for a race. */
const ROUNDS = 3;

/** The plugin's name is the backend's `executable`. */
export function chainedPlugin(backend: Backend, about: string): Plugin {
  return {
    name: backend.executable ?? backend.name,
    about,
    add(request) {
      const result = request.requirePrevResult();
      withHost(request, (host) => provide(request, backend, host));
      return result;
    },
    // An attachment has no state in this plugin: peers belong to the node and stay.
    del: forgetScratch,
    gc: () => undefined,
    check(request) {
      request.requirePrevResult();
      withHost(request, (host) => {
        if (hasInlinePeers(request)) assertHolds(host, inlineDesire(request, backend));
        // Checks the current backend's devices, not those of this plugin: they also connect pods that are older than a
        // change of the backend.
        else assertDevices(readStamp(request), host);
      });
    },
    status(request) {
      if (!hasInlinePeers(request)) assertHasServed(request);
    },
  };
}

/** Removes the file that flannel wrote for a pod that it attached before weftd took over the node. */
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
      `this node's backend is ${stamp.backend}, not ${backend.name}: wait until weftd has rewritten the network ` +
        "configuration",
    );
  }
  const runDir = runDirOf(request);
  // While weftd runs, it maintains the peers' entries, so the cost of ADD does not depend on the number of peers.
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

/** Reads a stamp of this boot, in a known format. Throws `CniError` 11. */
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
      `weftd has not served on this node since it booted (${path} is missing): wait until it is ready, or read its log`,
    );
  }
  try {
    return parse(bytes);
  } catch (error) {
    throw later(`${path}: ${messageOf(error)}: weftd rewrites it when it starts`, error);
  }
}

function assertThisBoot({ system }: CniRequest, path: string, bootId: string): void {
  if (bootId === readBootId(system)) return;
  throw new NeverServedError(
    ErrorCode.tryAgainLater,
    `${path} is from an earlier boot: wait until weftd is ready, or read its log`,
  );
}

function assertDevices({ devices }: Stamp, host: BlockingNetlink): void {
  for (const name of devices) {
    const state = findLink(host, name);
    if (state?.isUp !== true) {
      throw later(
        `the device ${name}, which connects this node with its peers, is ` +
          `${state === undefined ? "missing" : "down"}: weftd restores ` +
          "its own devices (read its log); an interface of the node must be restored by the operator",
      );
    }
  }
}

/**
 * If STATUS fails, runtimes set the node NotReady and Kubernetes evicts its pods. So STATUS returns 50 only on a node
 * that has not served since it booted. It does not fail because weftd has ended, restarts, or has lost the API server.
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
    throw later(`${path} and ${STAMP_FILE} are from different boots: wait until weftd is ready`);
  program(host, ({ links }) => {
    const known = knownDevices(links, table.deviceMacs);
    return pathOf(contributionsOf(table.conf, table.node, table.peers, known));
  });
}

/** Computes the desired state of the kernel from its observed state. */
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
      throw later(`cannot restore the routes to other nodes' pods: ${obstacles.join("; ")}`, refused[0]);
    if (plan.isComplete) return;
    if (round === ROUNDS)
      throw later(
        "the device that connects this node with its peers disappears after its creation: find the program that " +
          "removes it",
      );
  }
}

function assertHolds(host: BlockingNetlink, desire: Desire): void {
  const observed = readSnapshot(host);
  const { requests, conflicts } = planDataPath(desire(observed), observed, { keep: true });
  const missing = [...requests.map(({ text }) => text), ...conflicts];
  if (missing.length > 0)
    throw later(`the data path to other nodes' pods is incomplete: missing ${missing.join("; ")}`);
}

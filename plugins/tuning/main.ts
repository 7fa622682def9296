/**
 * `tuning`: changes attributes of an interface and kernel settings of its namespace. DEL restores the attributes. The
 * settings are gone with the namespace.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { collectGarbage } from "../../pkg/attachment/garbage.ts";
import { inOwnPod } from "../../pkg/attachment/own-pod.ts";
import { garbageOf, ownerOf } from "../../pkg/attachment/owner.ts";
import { inPod, requireInterface } from "../../pkg/attachment/pod.ts";
import { CniError, ErrorCode, isCniError, messageOf } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { Result } from "../../pkg/cni/result.ts";
import { type Undo, undoing } from "../../pkg/cni/undo.ts";
import { changeLink, type Link } from "../../pkg/kernel/link.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isGone } from "../../pkg/netlink/errors.ts";
import { isSystemError } from "../../pkg/sys/errors.ts";
import { assertWritable, Backup, type Original, removeBackups } from "./backup.ts";
import { type Attributes, dataDirectory, hasAttributes, parseTuning, type Tuning } from "./config.ts";
import { applySysctls, assertAllowed, checkSysctls, sysctlName } from "./sysctls.ts";

export const plugin: Plugin = {
  name: "tuning",
  about: "changes attributes of a container's interface, and kernel settings of its namespace",
  add(request) {
    const tuning = parseTuning(request);
    assertAllowed(request.system, tuning.sysctls.keys());
    const previous = request.requirePrevResult();
    inPod(request, (pod) => undoing((undo) => tune(request, pod, tuning, undo)));
    return withMac(previous, request.ifName, tuning.attributes.mac);
  },
  del(request) {
    const backup = backupOf(request);
    if (request.namespace !== undefined) restoreInPod(request, backup);
    backup.forget();
  },
  check(request) {
    const { attributes, sysctls } = parseTuning(request);
    const previous = request.requirePrevResult();
    checkSysctls(request, sysctls);
    if (!hasAttributes(attributes)) return;
    inPod(request, (pod) => {
      const link = requireInterface(pod, request);
      // A later plugin of the chain may have set another address, which is in its result.
      const isTold = link.mac === toldMac(request, previous);
      checkAttributes(link, isTold ? { ...attributes, mac: undefined } : attributes, pod);
    });
  },
  status(request) {
    const { attributes, sysctls } = parseTuning(request);
    assertAllowed(request.system, sysctls.keys());
    for (const key of sysctls.keys()) sysctlName(key, "eth0");
    if (hasAttributes(attributes)) assertCanKeep(request);
  },
  gc(request) {
    const isGarbage = garbageOf(request);
    collectGarbage(request, [() => removeBackups(request.system, dataDirectory(request.config), isGarbage)]);
  },
};

function backupOf({ system, config, containerId, ifName }: CniRequest): Backup {
  return new Backup(system, dataDirectory(config), containerId, ifName);
}

function tune(request: CniRequest, pod: BlockingNetlink, { attributes, sysctls }: Tuning, undo: Undo): void {
  const link = hasAttributes(attributes) ? requireInterface(pod, request) : undefined;
  applySysctls(request, sysctls, undo);
  if (link === undefined) return;
  const original = originalOf(link, attributes);
  keep(request, original, undo);
  undo.push(() => pod.run(changeLink(link.index, original)));
  pod.run(changeLink(link.index, attributes));
}

/** Returns the current values of the attributes that will be changed. */
function originalOf(link: Link, attributes: Attributes): Original {
  return {
    mac: attributes.mac === undefined ? undefined : link.mac,
    mtu: attributes.mtu === undefined ? undefined : link.mtu,
    promiscuous: attributes.promiscuous === undefined ? undefined : link.isPromiscuous,
    allMulticast: attributes.allMulticast === undefined ? undefined : link.isAllMulticast,
    txQueueLength: attributes.txQueueLength === undefined ? undefined : link.txQueueLength,
  };
}

/**
 * Keeps the original attributes. Values kept by an earlier plugin of the chain, or by an ADD without a DEL, are older
 * and take precedence.
 */
function keep(request: CniRequest, original: Original, undo: Undo): void {
  const backup = backupOf(request);
  const owner = ownerOf(request);
  try {
    const older = backup.read();
    backup.keep({ ...original, ...defined(older ?? {}) }, owner);
    undo.push(() => (older === undefined ? backup.forget() : backup.keep(older, owner)));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new CniError(
      ErrorCode.ioFailure,
      `dataDir: cannot keep the attributes of ${request.ifName}: ${error.message}`,
      {
        cause: error,
      },
    );
  }
}

function defined(original: Original): Original {
  return Object.fromEntries(Object.entries(original).filter(([, value]) => value !== undefined));
}

/** Returns the result with the new hardware address, for the following plugins. */
function withMac(result: Result, ifName: string, mac: string | undefined): Result {
  if (mac === undefined) return result;
  return {
    ...result,
    interfaces: result.interfaces.map((entry) => (entry.name === ifName ? { ...entry, mac } : entry)),
  };
}

/** Returns the hardware address in the result of the last plugin that set one. */
function toldMac({ ifName, netnsPath }: CniRequest, { interfaces }: Result): string | undefined {
  return interfaces.find(({ name, sandbox }) => name === ifName && sandbox === netnsPath)?.mac?.toLowerCase();
}

/**
 * Restores as many attributes as possible. A refusal is reported but does not fail DEL: otherwise the pod could not be
 * removed because of an attribute of an interface that is about to be deleted.
 */
function restoreInPod(request: CniRequest, backup: Backup): void {
  const warn = (text: string) => request.system.writeErrorOutput(new TextEncoder().encode(`tuning: ${text}\n`));
  let original: Original | undefined;
  try {
    original = backup.read();
  } catch (error) {
    if (!isCniError(error)) throw error;
    warn(`${backup.path}: ${error.message}: nothing is restored`);
  }
  if (original === undefined) return;
  const { mac, mtu, promiscuous, allMulticast, txQueueLength } = original;
  const changes = [{ mtu }, { mac }, { promiscuous }, { allMulticast }, { txQueueLength }].filter((change) =>
    Object.values(change).some((value) => value !== undefined),
  );
  inOwnPod(request, (pod) => {
    const replies = pod.exchange(changes.map((change) => changeLink(request.ifName, change)));
    for (const { error } of replies) {
      if (error !== undefined && !isGone(error)) warn(`cannot restore: ${messageOf(error)}`);
    }
  });
}

function checkAttributes(link: Link, attributes: Attributes, pod: BlockingNetlink): void {
  const { mac, mtu, promiscuous, allMulticast, txQueueLength } = attributes;
  for (const [what, held, wanted] of [
    ["hardware address", link.mac, mac],
    ["MTU", link.mtu, mtu],
    ["promiscuous mode", link.isPromiscuous, promiscuous],
    ["all-multicast mode", link.isAllMulticast, allMulticast],
    ["transmit queue length", link.txQueueLength, txQueueLength],
  ] as const) {
    if (wanted !== undefined && held !== wanted) {
      throw wrong(`the ${what} of ${link.name} in ${pod.where} is ${held}: expected ${wanted}`);
    }
  }
}

function assertCanKeep({ system, config }: CniRequest): void {
  const directory = dataDirectory(config);
  try {
    assertWritable(system, directory);
  } catch (error) {
    if (!isSystemError(error)) throw error;
    throw new CniError(ErrorCode.notAvailable, `dataDir: cannot keep attributes in ${directory}: ${error.message}`, {
      cause: error,
    });
  }
}

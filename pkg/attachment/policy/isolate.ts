/** ADD: has weftd install a pod's NetworkPolicies before the pod's interface can send or receive. */
import { CniError, ErrorCode } from "../../cni/errors.ts";
import { notice } from "../../cni/notice.ts";
import type { CniRequest } from "../../cni/plugin.ts";
import type { Undo } from "../../cni/undo.ts";
import { type Address, formatAddress } from "../../ip/address.ts";
import type { System } from "../../sys/system.ts";
import type { BeforeUp } from "../before-up.ts";
import { NoAnswer, PendingRequest } from "./client.ts";
import type { AttachRequest, NetworkPolicyKey } from "./protocol.ts";

/** The addresses to isolate. `plugin` is the name for notices. */
export interface Isolation {
  readonly plugin: string;
  /** The configuration's key. Nothing is installed without it. */
  readonly key: NetworkPolicyKey | undefined;
  /** For an interface without addresses there is nothing to install. */
  readonly addresses: readonly Address[];
}

/**
 * Asks weftd to isolate the attachment's addresses, and returns the action that waits until the kernel has the rules.
 * weftd works while ADD makes the devices. There is no action for a container without a Kubernetes pod (podman,
 * cnitool).
 *
 * Both this function and the action throw `CniError` 11 if weftd refuses, and if it does not answer while `key.fail` is
 * `closed`. With `open` the pod is then attached without its policies, and a notice is printed.
 *
 * `undo` only closes the connection: weftd removes elements of addresses that no pod has.
 */
export function isolation(request: CniRequest, { plugin, key, addresses }: Isolation, undo: Undo): BeforeUp[] {
  const attach = attachRequest(request, addresses);
  if (key === undefined || attach === undefined || addresses.length === 0) return [];
  const { system } = request;
  const about = { system, plugin, key, pod: attach.pod };
  const pending = answered(about, () => PendingRequest.send(system, key.socket, attach));
  if (pending === undefined) return [];
  undo.push(() => pending.close());
  return [
    () => {
      const reply = answered(about, () => pending.answer());
      pending.close();
      if (reply?.is !== "failed") return;
      throw new CniError(
        ErrorCode.tryAgainLater,
        `weftd cannot install the NetworkPolicies of pod ${attach.pod}: ${reply.reason}`,
      );
    },
  ];
}

interface About {
  readonly system: System;
  readonly plugin: string;
  readonly key: NetworkPolicyKey;
  readonly pod: string;
}

/** Runs `ask`. If weftd does not answer, throws or returns undefined, as `key.fail` says. */
function answered<T>({ system, plugin, key, pod }: About, ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    if (key.fail === "open") {
      const consequence = `pod ${pod} is attached without its NetworkPolicies (networkPolicy.fail is "open")`;
      notice(system, plugin, `${consequence}: ${error.message} (${key.socket})`);
      return undefined;
    }
    throw new CniError(
      ErrorCode.tryAgainLater,
      `cannot install the NetworkPolicies of pod ${pod} over ${key.socket}: ${error.message}; ` +
        "start weftd on this node, or run it with --policy-fail=open to attach pods without their policies meanwhile",
      { cause: error },
    );
  }
}

/** Undefined if the runtime passed no pod of Kubernetes. */
function attachRequest(request: CniRequest, addresses: readonly Address[]): AttachRequest | undefined {
  const args = request.args.all();
  const [namespace, name] = [args.get("K8S_POD_NAMESPACE") ?? "", args.get("K8S_POD_NAME") ?? ""];
  const uid = args.get("K8S_POD_UID") ?? "";
  if (uid === "" && (namespace === "" || name === "")) return undefined;
  return {
    version: 1,
    pod: `${namespace}/${name}`,
    uid,
    containerId: request.containerId,
    ifName: request.ifName,
    addresses: addresses.map(formatAddress),
  };
}

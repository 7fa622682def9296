/** ADD: has weftd install a pod's NetworkPolicies before the pod's interface can send or receive. */
import { CniError, ErrorCode } from "../../cni/errors.ts";
import { notice } from "../../cni/notice.ts";
import type { CniRequest } from "../../cni/plugin.ts";
import { type Address, formatAddress } from "../../ip/address.ts";
import type { BeforeUp } from "../before-up.ts";
import { askForIsolation, type FinalReply, NoAnswer } from "./client.ts";
import type { AttachRequest, NetworkPolicyKey } from "./protocol.ts";

/** Returns the action of the configuration's key `networkPolicy`; none without it. `plugin` is the name for notices. */
export function isolation(plugin: string, key: NetworkPolicyKey | undefined): BeforeUp[] {
  if (key === undefined) return [];
  return [({ request }, { addresses = [] }) => isolate(request, plugin, key, addresses)];
}

/**
 * Installs the isolation of the attachment's addresses. For a container without a Kubernetes pod (podman, cnitool), and
 * for an interface without addresses, there is nothing to install.
 *
 * Throws `CniError` 11 if weftd refuses, and if it does not answer while `key.fail` is `closed`. With `open` the pod is
 * then attached without its policies, and a notice is printed.
 *
 * ADD has nothing to undo: weftd removes elements of addresses that no pod has.
 */
export function isolate(
  request: CniRequest,
  plugin: string,
  key: NetworkPolicyKey,
  addresses: readonly Address[],
): void {
  if (addresses.length === 0) return;
  const attach = attachRequest(request, addresses);
  if (attach === undefined) return;
  let reply: FinalReply;
  try {
    reply = askForIsolation(request.system, key.socket, attach);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    if (key.fail === "open") {
      const consequence = `pod ${attach.pod} is attached without its NetworkPolicies (networkPolicy.fail is "open")`;
      notice(request.system, plugin, `${consequence}: ${error.message} (${key.socket})`);
      return;
    }
    throw new CniError(
      ErrorCode.tryAgainLater,
      `cannot install the NetworkPolicies of pod ${attach.pod} over ${key.socket}: ${error.message}; ` +
        "start weftd on this node, or run it with --policy-fail=open to attach pods without their policies meanwhile",
      { cause: error },
    );
  }
  if (reply.is === "installed") return;
  throw new CniError(
    ErrorCode.tryAgainLater,
    `weftd cannot install the NetworkPolicies of pod ${attach.pod}: ${reply.reason}`,
  );
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

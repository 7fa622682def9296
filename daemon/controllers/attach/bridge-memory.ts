/**
 * Computes the desired state of the pods' bridge. The executables create the bridge. The hardware address by which pods
 * know their gateway does not follow from the configuration; it is remembered from the bridge itself.
 */
import { deriveMac } from "../../../pkg/backend/derived-mac.ts";
import { firstHost, type Prefix } from "../../../pkg/ip/prefix.ts";
import type { Link } from "../../../pkg/kernel/link.ts";
import type { PodBridge } from "../../../pkg/reconcile/pod-bridge.ts";

export interface DesiredBridge extends Pick<PodBridge, "name" | "ports" | "hairpin" | "former"> {
  readonly nodeName: string;
  /** This node's pod subnets. */
  readonly subnets: readonly Prefix[];
  /** In bytes. */
  readonly mtu: number;
}

export class BridgeMemory {
  #mac: string | undefined;

  /** Returns the bridge with the hardware address that it had when first seen, or will get. */
  podBridge({ nodeName, subnets, ...desired }: DesiredBridge, links: readonly Link[]): PodBridge {
    this.#mac ??= links.find(({ name, kind }) => name === desired.name && kind === "bridge")?.mac;
    return {
      ...desired,
      gateways: subnets.map((subnet) => ({ address: firstHost(subnet), length: subnet.length })),
      mac: this.#mac ?? deriveMac(nodeName, desired.name),
    };
  }

  /** Called when no pod is on the bridge: the next one may create another bridge. */
  forget(): void {
    this.#mac = undefined;
  }
}

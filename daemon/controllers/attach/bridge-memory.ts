/**
 * What the pods' bridge should be. It is made by the executables; what cannot be told from the configuration (by which
 * hardware address pods know their gateway) is remembered from the bridge itself.
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

  /** With the hardware address that the bridge had when it was first seen, or will have. */
  podBridge({ nodeName, subnets, ...desired }: DesiredBridge, links: readonly Link[]): PodBridge {
    this.#mac ??= links.find(({ name, kind }) => name === desired.name && kind === "bridge")?.mac;
    return {
      ...desired,
      gateways: subnets.map((subnet) => ({ address: firstHost(subnet), length: subnet.length })),
      mac: this.#mac ?? deriveMac(nodeName, desired.name),
    };
  }

  /** No pod is on the bridge: the next one may make another. */
  forget(): void {
    this.#mac = undefined;
  }
}

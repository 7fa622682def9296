/** A VTEP as one of the devices that lead to other nodes. */
import type { Address } from "../ip/address.ts";
import type { Prefix } from "../ip/prefix.ts";
import type { Device, DevicePlan } from "./device.ts";
import type { Link } from "./link.ts";
import { planVtep, type Vtep } from "./vtep.ts";

export class VtepDevice implements Vtep, Device {
  declare readonly name: string;
  declare readonly vni: number;
  declare readonly port: number;
  declare readonly local: Address;
  declare readonly underlayIndex: number;
  declare readonly mac: string;
  declare readonly mtu: number;
  declare readonly addresses: readonly Prefix[];
  declare readonly alias?: string;

  constructor(vtep: Vtep) {
    Object.assign(this, vtep);
  }

  get kind() {
    return "vxlan" as const;
  }

  get backend(): string {
    return "vxlan";
  }

  get conflict() {
    const { vni, port, local } = this;
    return {
      belongs: `a VXLAN device with VNI ${vni} and port ${port} over IPv${local.family}`,
      advice: "remove it, or give this network another VNI",
    };
  }

  plan(link: Link | undefined): DevicePlan {
    return planVtep(this, link);
  }
}

/** A VTEP as one kind of device to other nodes. */
import type { Device } from "./device.ts";
import { planVtep, type Vtep } from "./vtep.ts";

export interface VtepDevice extends Vtep, Device {
  readonly mac: string;
}

/** The properties that all VTEPs share. */
const SHARED: Pick<VtepDevice, "kind" | "backend" | "conflict" | "plan"> & ThisType<VtepDevice> = {
  kind: "vxlan",
  backend: "vxlan",
  get conflict() {
    const { vni, port, local } = this;
    return {
      belongs: `a VXLAN device with VNI ${vni} and port ${port} over IPv${local.family}`,
      advice: "remove it, or give this network another VNI",
    };
  },
  plan(link) {
    return planVtep(this, link);
  },
};

/** Makes a device from `vtep`; another backend with VXLAN devices overrides properties with `more`. */
export function vtepDevice(vtep: Vtep, more: Partial<Pick<VtepDevice, "backend" | "conflict">> = {}): VtepDevice {
  return Object.assign(Object.create(SHARED), vtep, more);
}

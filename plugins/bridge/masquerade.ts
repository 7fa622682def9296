import type { ResultAddress } from "../../pkg/cni/result.ts";
import type { System } from "../../pkg/sys/system.ts";
export function addMasquerade(_s: System, _o: string, _i: readonly ResultAddress[]): void {}
export function removeMasquerade(_s: System, _f: (mark: string) => boolean): void {}

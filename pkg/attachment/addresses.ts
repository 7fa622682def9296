/** Which addresses of a result are those of the attachment's own interface. Pure. */
import type { Result, ResultAddress } from "../cni/result.ts";

/** One that belongs to another interface of the result does not count, one that names none does. */
export function ownAddresses({ ips, interfaces }: Result, ifName: string): ResultAddress[] {
  return ips.filter(({ interface: at }) => {
    const owner = at === undefined ? undefined : interfaces[at];
    return owner === undefined || (owner.name === ifName && Boolean(owner.sandbox));
  });
}

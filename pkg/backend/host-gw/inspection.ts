/** Routes are all that host-gw has: what there is to say of them is the same for every backend. */
import type { Inspection } from "../inspection.ts";

export const inspection: Inspection = {
  kinds: [],
  settings: () => ({ data: {}, text: "" }),
  describe: () => ({ word: "device", data: {}, text: "" }),
  made: ({ name }) => {
    throw new Error(`host-gw has no device ${name}`);
  },
  underlayMtu: () => undefined,
  checks: [],
  leadsBy: () => false,
  pass: () => ({ hops: [], isOver: false }),
};

/** Documentation of host-gw's part of net-conf.json, for operators. */
import type { Manual } from "../contract.ts";

export const manual: Manual = {
  words: { "host-gw": "plain routes, only to nodes on the same link" },
  keys: [],
};

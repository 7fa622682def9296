/** What an operator should know of host-gw's part of net-conf.json. */
import type { Manual } from "../contract.ts";

export const manual: Manual = {
  words: { "host-gw": "by plain routes, to nodes on the same link alone" },
  keys: [],
};

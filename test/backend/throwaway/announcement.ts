/** `{"Station":"0a:00:00:00:00:01","Tag":7}`: the address of a node, and the nodes that reach it. */
import type { Announcement } from "../../../pkg/backend/contract.ts";
import { formatMac, parseMac } from "../../../pkg/ip/mac.ts";
import type { ThrowawayConf, ThrowawayPeer } from "./main.ts";

export const announcement: Announcement<ThrowawayConf, ThrowawayPeer> = {
  announce: ({ tag }, endpoints) => ({ data: { 4: JSON.stringify({ Station: endpoints[4], Tag: tag }) } }),
  families: () => [4],
  readPeer(base, { data }, tell) {
    try {
      const { Station, Tag } = JSON.parse(data?.[4] ?? "null");
      return { ...base, station: { mac: formatMac(parseMac(Station)), tag: Number(Tag) } };
    } catch (error) {
      tell(4, error instanceof Error ? error.message : String(error));
      return base;
    }
  },
  encodePeer: ({ station }) => ({ station }),
  fileKeys: {},
  announceFor: () => ({}),
};

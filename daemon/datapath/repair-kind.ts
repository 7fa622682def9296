/** What kind of object a repair put back, told from the words that an operator reads. */

/** The first words of a command, and the kind that it is about. */
const COMMANDS: readonly (readonly [start: string, kind: string])[] = [
  ["ip route ", "route"],
  ["ip neigh ", "neighbour"],
  ["bridge fdb ", "forwarding"],
  ["ip link ", "link"],
  ["ip address ", "address"],
  ["table ", "table"],
  ["rules of ", "attachment"],
  ["nft ", "rule"],
  ["net.", "setting"],
];

export const REPAIR_KINDS: readonly string[] = COMMANDS.map(([, kind]) => kind);

/** One of `REPAIR_KINDS`; "other" for words that none of them begins with. */
export function repairKind(object: string): string {
  return COMMANDS.find(([start]) => object.startsWith(start))?.[1] ?? "other";
}

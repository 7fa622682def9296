/** All forms of peers, alone and in pairs. */
import { type Case, namespaceNamed, type Places, podNamed } from "../case.ts";
import type { Json } from "../scene.ts";
import { DIRECTIONS, pairs, variation } from "./base.ts";

interface Form {
  readonly name: string;
  readonly peers: (at: Places) => readonly Json[];
}

const fixed = (name: string, peer: Json): Form => ({ name, peers: () => [peer] });

/** A block around z/c, and one without a smaller block around it. The lengths are those of IPv4 and IPv6. */
const blocks = (at: Places, except: boolean): Json[] =>
  ([4, 6] as const).map((family) => {
    const address = at.addressOf("z/c", family);
    const [length, inner] = family === 4 ? [24, 30] : [64, 126];
    return { ipBlock: { cidr: `${address}/${length}`, ...(except && { except: [`${address}/${inner}`] }) } };
  });

const FORMS: readonly Form[] = [
  fixed("all pods of the namespace", { podSelector: {} }),
  fixed("pods by label", { podSelector: podNamed("c") }),
  fixed("all namespaces", { namespaceSelector: {} }),
  fixed("all pods of all namespaces", { namespaceSelector: {}, podSelector: {} }),
  fixed("pods by label of all namespaces", { namespaceSelector: {}, podSelector: podNamed("c") }),
  fixed("a namespace by label", { namespaceSelector: namespaceNamed("y") }),
  fixed("all pods of a namespace by label", { namespaceSelector: namespaceNamed("y"), podSelector: {} }),
  fixed("pods by label of a namespace by label", {
    namespaceSelector: namespaceNamed("y"),
    podSelector: podNamed("c"),
  }),
  { name: "blocks", peers: (at) => blocks(at, false) },
  { name: "blocks with an exception", peers: (at) => blocks(at, true) },
];

export const PEERS: readonly Case[] = DIRECTIONS.flatMap((direction) => [
  variation("peers", direction, "any peer", { peers: [] }),
  ...FORMS.map(({ name, peers }) => variation("peers", direction, name, (at) => ({ peers: peers(at) }))),
  ...pairs(FORMS).map(([one, other]) =>
    variation("peers", direction, `${one.name}; ${other.name}`, (at) => ({
      peers: [...one.peers(at), ...other.peers(at)],
    })),
  ),
]);

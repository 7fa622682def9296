/** What the rules of nf_tables do with a packet at one hook. */
import { contains } from "../../pkg/ip/prefix.ts";
import { placeText } from "../../pkg/nft/ruleset.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import { type Ending, isStopped, walk } from "../../pkg/packet-walk/ruleset.ts";
import type { Trace } from "./trace.ts";
import { deedText, endingText, showChain } from "./words.ts";

/** All base chains of a hook. */
export function passRules(trace: Trace, hook: number, packet: Packet, name: string): void {
  const { ruleset, legacy } = trace.knowledge;
  const { ending, translation, perhaps } = walk(ruleset, hook, packet);
  if (legacy.includes(packet.destination.family) && name === "forward")
    trace.say({
      at: name,
      state: "note",
      text: "iptables-legacy has rules, which are not seen here",
      show: "iptables-legacy -S",
    });
  for (const possible of perhaps.slice(0, 3))
    trace.say({
      at: name,
      state: "note",
      text: `${endingText(possible)} may ${deedText(possible)}: not all that it asks is known of this packet`,
      show: showChain(possible),
    });
  if (isStopped(ending)) {
    const by =
      ending.rule === undefined
        ? `nft chain ${placeText(ending.chain)} '{ policy accept; }'`
        : `nft delete rule ${placeText(ending.chain)} handle ${ending.rule.handle}`;
    trace.end({
      at: name,
      text: `${endingText(ending)} ${ending.action === "reject" ? "rejects" : "drops"} it`,
      show: showChain(ending),
      remedy: by,
    });
  }
  if (translation !== undefined) sayTranslation(trace, translation, name);
  else if (name === "postrouting" && trace.question.source !== undefined && !isInside(trace))
    trace.say({
      at: name,
      state: "goes",
      text: "no rule masquerades it: its receiver sees the pod's own address",
      show: "nft list table inet weft",
    });
}

function isInside(trace: Trace): boolean {
  return trace.knowledge.table?.conf.networks.some((network) => contains(network, trace.question.destination)) === true;
}

function sayTranslation(trace: Trace, translation: Ending, name: string): void {
  const { action } = translation;
  if (action === "dnat" || action === "redirect")
    trace.end(
      {
        at: name,
        text: `${endingText(translation)} gives it another destination: the packet goes on as one to an endpoint of this service, which the rule chooses; ask for the endpoint's address`,
        show: showChain(translation),
      },
      "note",
    );
  trace.say({
    at: name,
    state: "goes",
    text: `${endingText(translation)} ${action === "masquerade" ? "gives it the node's own address as its source (masquerade)" : "gives it another source"}`,
    show: showChain(translation),
  });
}

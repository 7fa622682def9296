/** Follows a packet through the rules of nf_tables at one hook. */
import { contains } from "../../pkg/ip/prefix.ts";
import { placeText } from "../../pkg/nft/ruleset.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import { type Ending, isStopped, walk } from "../../pkg/packet-walk/ruleset.ts";
import { recordVerdict, refusalOfGuard, refusalOfPolicy } from "./policy.ts";
import { chosenEndpoint, goToEndpoint, type Refusal, refusalOfService } from "./service.ts";
import type { Trace } from "./trace.ts";
import { deedText, endingText, showChain } from "./words.ts";

/** Runs all base chains of a hook. If a rule translates the destination, `trace.question` has the new one. */
export function passRules(trace: Trace, hook: number, packet: Packet, name: string): void {
  const { ruleset, legacy } = trace.knowledge;
  if (name === "prerouting" || name === "output") trace.hasMetServices = true;
  if (name === "postrouting") trace.isMasqueraded = false;
  const { ending, translation, perhaps } = walk(ruleset, hook, packet, {
    scratch: trace.scratch,
    choose: (targets) => chosenEndpoint(trace, targets),
  });
  if (legacy.includes(packet.destination.family) && name === "forward")
    trace.say({
      at: name,
      state: "note",
      text: "iptables-legacy has rules, which are not read here",
      show: "iptables-legacy -S",
    });
  for (const possible of perhaps.slice(0, 3))
    trace.say({
      at: name,
      state: "note",
      text: `${endingText(possible)} may ${deedText(possible)}; the rule depends on properties of the packet that are not known here`,
      show: showChain(possible),
    });
  if (translation !== undefined) sayTranslation(trace, translation, name);
  if (name === "forward" || name === "input") recordVerdict(trace, { ending, perhaps });
  if (isStopped(ending)) {
    const { text, remedy } =
      refusalOfService(trace, ending) ??
      refusalOfPolicy(trace, ending) ??
      refusalOfGuard(trace, ending) ??
      refusalOfRule(ending);
    trace.end({ at: name, text, show: showChain(ending), remedy });
  }
  const isTold = trace.original !== undefined || (trace.isFromPod && !isInside(trace));
  if (translation === undefined && name === "postrouting" && isTold)
    trace.say({
      at: name,
      state: "goes",
      text: `no rule masquerades it; the receiver sees ${trace.question.source === undefined ? "the address that the node chose" : "the sender's own address"}`,
      show: "nft list ruleset",
    });
}

function refusalOfRule(ending: Ending): Refusal {
  const { chain, rule } = ending;
  return {
    text: `${endingText(ending)} ${ending.action === "reject" ? "rejects" : "drops"} it`,
    remedy:
      rule === undefined
        ? `nft chain ${placeText(chain)} '{ policy accept; }'`
        : `nft delete rule ${placeText(chain)} handle ${rule.handle}`,
  };
}

function isInside(trace: Trace): boolean {
  return trace.knowledge.table?.conf.networks.some((network) => contains(network, trace.question.destination)) === true;
}

function sayTranslation(trace: Trace, translation: Ending, name: string): void {
  const { action } = translation;
  if (action === "dnat" || action === "redirect") {
    if (goToEndpoint(trace, translation, name)) return;
    trace.end(
      {
        at: name,
        text: `${endingText(translation)} translates the destination to an address that the rule does not show`,
        show: showChain(translation),
      },
      "note",
    );
  }
  if (action === "masquerade") trace.isMasqueraded = true;
  trace.say({
    at: name,
    state: "goes",
    text: `${endingText(translation)} ${action === "masquerade" ? "replaces its source by the node's own address (masquerade)" : "translates its source"}`,
    show: showChain(translation),
  });
}

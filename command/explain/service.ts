/** What the rules of Services make of a packet: which frontend it meets, where they lead it, and why they refuse it. */
import { SERVICES_TABLE } from "../../pkg/footprint.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import type { Choice, Ending } from "../../pkg/packet-walk/ruleset.ts";
import type { Trace } from "./trace.ts";
import { endingText, showChain } from "./words.ts";

/** Says which Service answers at the destination; false where none does. */
export function sayFrontend(trace: Trace): boolean {
  return trace.hops.length > 0;
}

/** The packet goes on to one of the targets of a translation; false where none of them is known. */
export function goToEndpoint(trace: Trace, translation: Ending, name: string): boolean {
  const targets = translation.targets.filter(isKnown);
  const followed = chosenEndpoint(trace, targets);
  if (followed === undefined) return false;
  const others = targets.length - 1;
  trace.say({
    at: name,
    state: "goes",
    text: `${endingText(translation)} leads it to ${targets.length === 1 ? "" : "one of "}${targets.map((target) => targetText(target, targets.length)).join(", ")}`,
    show: showChain(translation),
  });
  if (others > 0)
    trace.say({
      at: "endpoint",
      state: "goes",
      text: `followed here: ${addressAndPort(followed)} (--endpoint chooses another)`,
    });
  trace.translate(followed.address, followed.port);
  return true;
}

type KnownChoice = Choice & { readonly address: Address };

function isKnown(choice: Choice): choice is KnownChoice {
  return choice.address !== undefined;
}

/** The one that was asked for; else the likeliest. */
export function chosenEndpoint<C extends Choice>(trace: Trace, targets: readonly C[]): C | undefined {
  const { endpoint } = trace.question;
  const asked = targets.find(
    ({ address }) => endpoint !== undefined && address !== undefined && isSameAddress(address, endpoint),
  );
  return asked ?? [...targets].sort((a, b) => b.probability - a.probability)[0];
}

function targetText(choice: KnownChoice, count: number): string {
  return count === 1 ? addressAndPort(choice) : `${addressAndPort(choice)} (${percentage(choice.probability)})`;
}

function percentage(probability: number): string {
  return `${(probability * 100).toFixed(1).replace(/\.0$/, "")} %`;
}

function addressAndPort({ address, port }: Pick<KnownChoice, "address" | "port">): string {
  const text = formatAddress(address);
  if (port === undefined) return text;
  return address.family === 4 ? `${text}:${port}` : `[${text}]:${port}`;
}

export interface Refusal {
  readonly text: string;
  readonly remedy: string | undefined;
}

/** Why a rule of weftd's table of Services refuses the packet; undefined for other tables' rules. */
export function refusalOfService(_trace: Trace, ending: Ending): Refusal | undefined {
  if (ending.chain.table !== SERVICES_TABLE) return undefined;
  return { text: `${endingText(ending)} ${ending.action === "reject" ? "rejects" : "drops"} it`, remedy: undefined };
}

/**
 * What weftd means this node to do with a connection to a Service (pkg/services/outcome.ts), and whether the kernel's rules
 * do the same. Pure.
 */
import { formatAddress, isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import type { Endpoint, Frontend, FrontendKind } from "../../pkg/services/frontend.ts";
import { type Outcome, outcomeOf } from "../../pkg/services/outcome.ts";
import type { PageFrontend, PageService, ServicesPage } from "../node/services-page.ts";
import { PROTOCOL_NUMBER } from "../services/sight.ts";
import type { Trace } from "./trace.ts";

/** What the rules of Services were seen to do with the packet. */
export interface Deed {
  /** Of the translation: "10.244.1.2:8080". */
  readonly targets: readonly string[];
  readonly refusal: "reject" | "drop" | undefined;
  /** Undefined: it did not come to rules that masquerade. */
  readonly isMasqueraded: boolean | undefined;
}

/** Undefined where weftd says nothing, or the packet is not known well enough. */
export function expected(trace: Trace, page: ServicesPage | undefined): Outcome | undefined {
  const { destination, protocol, port } = trace.asked;
  const source = trace.asked.source ?? trace.sender;
  if (page?.node === undefined || source === undefined || protocol === undefined) return undefined;
  const { localPods, serviceRanges, masqueradeAll, masqueradeBit } = page.node;
  const settings = {
    localPods: localPods.map(parsePrefix),
    serviceRanges: serviceRanges.map(parsePrefix),
    ...{ masqueradeAll, masqueradeBit },
  };
  const isOwnAddress = (address: typeof source) =>
    trace.knowledge.observed.addresses.some(({ prefix }) => isSameAddress(prefix.address, address));
  const packet = { source, destination, protocol, port: port ?? 0 };
  return outcomeOf(packet, frontendsAbout(page, formatAddress(destination)), { settings, isOwnAddress });
}

/** Those at the address, and those at addresses of their endpoints: no destination is translated twice. */
function frontendsAbout({ services }: ServicesPage, address: string): Frontend[] {
  const all = services.flatMap((service) => (service.frontends ?? []).map((frontend) => ({ service, frontend })));
  const own = all.filter(({ frontend }) => frontend.address === address);
  const targets = new Set(own.flatMap(({ frontend: { endpoints = [] } }) => endpoints.map(hostOf)));
  return all
    .filter(({ frontend }) => frontend.address === address || targets.has(frontend.address))
    .map(({ service, frontend }) => frontendOf(service, frontend));
}

function hostOf(target: string): string {
  return target.slice(0, target.lastIndexOf(":")).replace(/^\[|\]$/g, "");
}

function frontendOf({ service, endpoints: all = [] }: PageService, told: PageFrontend): Frontend {
  const { endpoints = [], localEndpoints = [], allowedSources, affinitySeconds: seconds } = told;
  const locals = new Set(all.filter(({ isLocal }) => isLocal).map(({ target }) => target));
  const endpointOf = (target: string): Endpoint => ({
    address: parseAddress(hostOf(target)),
    port: Number(target.slice(target.lastIndexOf(":") + 1)),
    isLocal: locals.has(target),
  });
  return {
    ...{ kind: told.kind as FrontendKind, address: parseAddress(told.address), port: told.port, service },
    ...{ protocol: PROTOCOL_NUMBER[told.protocol] as Frontend["protocol"], portName: told.portName ?? "" },
    ...{ policy: told.policy, withoutEndpoint: told.withoutEndpoint },
    endpoints: endpoints.map(endpointOf),
    localEndpoints: localEndpoints.map(endpointOf),
    allowedSources: allowedSources?.map(parsePrefix),
    affinity: seconds === undefined ? undefined : { seconds, key: "" },
  };
}

/** How the kernel differs from what weftd means; undefined where it does not. */
export function difference(outcome: Outcome, deed: Deed, followed: string | undefined): string | undefined {
  const does = deedText(deed);
  if (outcome.verdict !== "endpoints") {
    const refusal = outcome.verdict === "untouched" ? undefined : outcome.verdict;
    if (deed.refusal === refusal && deed.targets.length === 0) return undefined;
    return `weftd means ${refusal === undefined ? "Services to leave it alone" : `to ${refusal} it (${outcome.reason})`}, and the kernel ${does}`;
  }
  const { choices, frontend } = outcome;
  const meant = choices.map(({ endpoint }) => targetOf(endpoint));
  const isSame =
    deed.targets.every((target) => meant.includes(target)) &&
    // A client that keeps its endpoint has no other choice.
    (deed.targets.length === new Set(meant).size || (frontend.affinity !== undefined && deed.targets.length > 0));
  if (!isSame) return `weftd means it to go to ${meant.join(", ")}, and the kernel ${does}`;
  const choice = choices.find(({ endpoint }) => targetOf(endpoint) === followed);
  if (choice === undefined || choice.obstacle !== undefined) return undefined;
  if (deed.isMasqueraded === undefined || deed.refusal !== undefined) return undefined;
  if ((choice.masquerade !== undefined) === deed.isMasqueraded) return undefined;
  return deed.isMasqueraded
    ? "the kernel masquerades it, and weftd does not mean it to"
    : `weftd means it to be masqueraded (${choice.masquerade}), and the kernel does not`;
}

function deedText({ refusal, targets }: Deed): string {
  if (refusal !== undefined) return `${refusal}s it`;
  return targets.length === 0 ? "leaves it alone" : `leads it to ${targets.join(", ")}`;
}

function targetOf({ address, port }: Endpoint): string {
  const text = formatAddress(address);
  return `${address.family === 6 ? `[${text}]` : text}:${port}`;
}

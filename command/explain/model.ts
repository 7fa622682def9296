/**
 * What weftd expects this node to do with a connection to a Service (pkg/services/outcome.ts), compared with what the
 * kernel's rules do. Pure.
 */
import { formatAddress, isSameAddress, parseAddress } from "../../pkg/ip/address.ts";
import { parsePrefix } from "../../pkg/ip/prefix.ts";
import type { Endpoint, Frontend, FrontendKind } from "../../pkg/services/frontend.ts";
import { type Outcome, outcomeOf } from "../../pkg/services/outcome.ts";
import type { PageFrontend, PageService, ServicesPage } from "../node/services-page.ts";
import { PROTOCOL_NUMBER } from "../services/sight.ts";
import type { Trace } from "./trace.ts";

/** What the kernel's rules for Services do with the packet. */
export interface Deed {
  /** The possible destinations after translation, such as "10.244.1.2:8080". */
  readonly targets: readonly string[];
  readonly refusal: "reject" | "drop" | undefined;
  /** Undefined if the packet did not reach rules that masquerade. */
  readonly isMasqueraded: boolean | undefined;
}

/** Returns the outcome that weftd expects. Undefined if weftd does not answer, or too little is known of the packet. */
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

/**
 * Returns frontends at the address, and frontends at their endpoints' addresses. The latter block connections, since no
 * destination is translated twice.
 */
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

/** Describes how the kernel differs from what weftd expects. Undefined if they agree. */
export function difference(outcome: Outcome, deed: Deed, followed: string | undefined): string | undefined {
  const does = deedText(deed);
  if (outcome.verdict !== "endpoints") {
    const refusal = outcome.verdict === "untouched" ? undefined : outcome.verdict;
    if (deed.refusal === refusal && deed.targets.length === 0) return undefined;
    return `weftd expects ${refusal === undefined ? "no change by Services" : `a verdict of ${refusal} (${outcome.reason})`}, but the kernel ${does}`;
  }
  const { choices, frontend } = outcome;
  const meant = choices.map(({ endpoint }) => targetOf(endpoint));
  const isSame =
    deed.targets.every((target) => meant.includes(target)) &&
    // A client with session affinity has only one choice.
    (deed.targets.length === new Set(meant).size || (frontend.affinity !== undefined && deed.targets.length > 0));
  if (!isSame) return `weftd expects it to go to ${meant.join(", ")}, but the kernel ${does}`;
  const choice = choices.find(({ endpoint }) => targetOf(endpoint) === followed);
  if (choice === undefined || choice.obstacle !== undefined) return undefined;
  if (deed.isMasqueraded === undefined || deed.refusal !== undefined) return undefined;
  if ((choice.masquerade !== undefined) === deed.isMasqueraded) return undefined;
  return deed.isMasqueraded
    ? "the kernel masquerades it, but weftd does not expect that"
    : `weftd expects it to be masqueraded (${choice.masquerade}), but the kernel does not masquerade it`;
}

function deedText({ refusal, targets }: Deed): string {
  if (refusal !== undefined) return `${refusal}s it`;
  return targets.length === 0 ? "does not change it" : `sends it to ${targets.join(", ")}`;
}

function targetOf({ address, port }: Endpoint): string {
  const text = formatAddress(address);
  return `${address.family === 6 ? `[${text}]` : text}:${port}`;
}

/**
 * `sbr`: routes packets from an address of this interface through this interface. Follows the plugin that creates the
 * interface.
 */
import { wrong } from "../../pkg/attachment/check.ts";
import { inOwnPodAlone, inPodAlone, requireInterface } from "../../pkg/attachment/pod.ts";
import { isCniError } from "../../pkg/cni/errors.ts";
import type { CniRequest, Plugin } from "../../pkg/cni/plugin.ts";
import type { ResultAddress } from "../../pkg/cni/result.ts";
import { type Undo, undoing } from "../../pkg/cni/undo.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { findLink, readAddresses, readRoutes, readRules } from "../../pkg/kernel/read.ts";
import { addRoute, deleteRoute, replaceRoute } from "../../pkg/kernel/route.ts";
import { addRule, deleteRule } from "../../pkg/kernel/rule.ts";
import type { BlockingNetlink } from "../../pkg/netlink/blocking.ts";
import { isGone } from "../../pkg/netlink/errors.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { parseSbrConfig, type SbrConfig } from "./config.ts";
import { addressesOf, isTakeable, type ObservedPod, planSbr } from "./plan.ts";

export const plugin: Plugin = {
  name: "sbr",
  about: "routes a container's packets by their source address",
  add(request) {
    const config = parseSbrConfig(request.config);
    const previous = request.requirePrevResult();
    const ips = addressesOf(previous, request.ifName);
    if (ips.length === 0) throw request.config.object("prevResult").invalid("ips", `addresses of ${request.ifName}`);
    inPodAlone(request, (pod) => undoing((undo) => apply(request, pod, config, ips, undo)));
    return previous;
  },
  del(request) {
    inOwnPodAlone(request, (pod) => remove(request, pod));
  },
  check(request) {
    const config = parseSbrConfig(request.config);
    const ips = addressesOf(request.requirePrevResult(), request.ifName);
    inPodAlone(request, (pod) => check(request, pod, config, ips));
  },
  status(request) {
    parseSbrConfig(request.config);
  },
};

function observe(pod: BlockingNetlink): ObservedPod {
  return { rules: readRules(pod), routes: readRoutes(pod) };
}

function apply(
  request: CniRequest,
  pod: BlockingNetlink,
  config: SbrConfig,
  ips: readonly ResultAddress[],
  undo: Undo,
): void {
  const { index } = requireInterface(pod, request);
  const plan = planSbr(config, ips, index, observe(pod));
  for (const route of plan.added) step(pod, addRoute(route), deleteRoute(route), undo);
  for (const rule of plan.rules) step(pod, addRule(rule), deleteRule(rule), undo);
  for (const route of plan.removed) step(pod, deleteRoute(route), addRoute(route), undo);
  // Last: nothing after these can fail.
  pod.run(...plan.hints.map(replaceRoute));
}

function step(pod: BlockingNetlink, change: Request, opposite: Request, undo: Undo): void {
  pod.run(change);
  undo.push(() => pod.run(opposite));
}

/** Removes the rules for the interface's addresses, and the interface's routes in the tables that ADD used for it. */
function remove(request: CniRequest, pod: BlockingNetlink): void {
  const { rules, routes } = observe(pod);
  const link = findLink(pod, request.ifName);
  const sources =
    link === undefined ? toldSources(request) : readAddresses(pod, link.index).map(({ prefix }) => prefix.address);
  const table = request.config.value("table");
  const own = rules.flatMap((rule) => {
    const source = sources.find((address) => rule.source !== undefined && isSameAddress(rule.source, address));
    return source === undefined || (table !== undefined && rule.table !== table) ? [] : [{ ...rule, source }];
  });
  // A table that the configuration names belongs to another program.
  const tables = new Set(table === undefined ? own.map((rule) => rule.table).filter(isTakeable) : []);
  const ownRoutes = routes.filter((route) => route.outputIndex === link?.index && tables.has(route.table));
  const replies = pod.exchange([...own.map(deleteRule), ...ownRoutes.map(deleteRoute)]);
  const refused = replies.find(({ error }) => error !== undefined && !isGone(error));
  if (refused?.error !== undefined) throw refused.error;
}

/** Returns the interface's addresses of the last result. Empty if that is invalid. */
function toldSources(request: CniRequest): Address[] {
  try {
    const { prevResult } = request;
    return prevResult === undefined
      ? []
      : addressesOf(prevResult, request.ifName).map(({ address }) => address.address);
  } catch (error) {
    if (isCniError(error)) return [];
    throw error;
  }
}

function check(request: CniRequest, pod: BlockingNetlink, config: SbrConfig, ips: readonly ResultAddress[]): void {
  const { index } = requireInterface(pod, request);
  const { rules, routes } = observe(pod);
  for (const { address, gateway: told } of ips) {
    const { family } = address.address;
    const rule = rules.find(
      ({ source, table }) =>
        source !== undefined &&
        isSameAddress(source, address.address) &&
        (config.table === undefined ? isTakeable(table) : table === config.table),
    );
    const where = `for packets from ${formatAddress(address.address)} in ${pod.where}`;
    if (rule === undefined) throw wrong(`the rule ${where} is missing`);
    const configured = config.gateways.get(family);
    if (config.table !== undefined || (configured ?? told) === undefined) continue;
    const defaults = routes.filter(
      ({ destination, outputIndex, table }) =>
        destination.length === 0 &&
        destination.address.family === family &&
        outputIndex === index &&
        table === rule.table,
    );
    const isThere = defaults.some(
      ({ gateway }) => configured === undefined || (gateway !== undefined && isSameAddress(gateway, configured)),
    );
    if (!isThere) throw wrong(`the default route ${where} is missing in table ${rule.table}`);
  }
}

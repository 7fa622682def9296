/**
 * Plans what is removed from a node, in which order, and what is left. Turns observations into steps that print as
 * commands. Pure.
 */

import {
  CONFLIST_NAME,
  DAEMON_MARK,
  DEFAULT_BRIDGE,
  DISABLED_SUFFIX,
  KNOWN_SERVERS_FILE,
  LOCK_FILE,
  MARK_START,
  POLICY_SOCKET_FILE,
  REMOVED_CONFLIST,
  RTPROT_WEFT,
  SERVICES_SOCKET_FILE,
  SOCKET_FILE,
  STAMP_FILE,
  TABLE_FILE,
} from "../../pkg/footprint.ts";
import { FORWARD_OPTIONS } from "../../pkg/foreign/foreign-forward.ts";
import { isOurTable } from "../../pkg/foreign/forward-chains.ts";
import { forgetForwarded } from "../../pkg/foreign/forward-removal.ts";
import { isOwnDevice } from "../../pkg/kernel/device.ts";
import { deleteLink, type Link } from "../../pkg/kernel/link.ts";
import { deleteRoute, describeRoute, type ObservedRoute } from "../../pkg/kernel/route.ts";
import type { Request } from "../../pkg/netlink/message.ts";
import { RTPROT_KERNEL } from "../../pkg/netlink/route.ts";
import type { Change } from "../../pkg/netlink/ruleset.ts";
import { deleteTable, type TablePlace } from "../../pkg/nft/ruleset.ts";
import { planRestoration } from "../install/restoration.ts";
import { type FileStep, fileStepText, quoted } from "../node/file-steps.ts";
import { withNames } from "../node/kernel.ts";
import { closingText } from "./loopback.ts";
import type { FolderSeen, ObservedNode, RulesSeen } from "./observed.ts";

export type Step =
  | { readonly kind: "file"; readonly file: FileStep }
  /** A link or route that is gone already is not a failure. */
  | { readonly kind: "route"; readonly request: Request }
  /** One transaction of nf_tables. It is planned again when it is made. `tables` are all tables that existed. */
  | { readonly kind: "rules"; readonly requests: readonly Request[]; readonly tables: readonly TablePlace[] }
  | { readonly kind: "legacy"; readonly path: string; readonly args: readonly string[] };

export interface CleanupPlan {
  readonly steps: readonly Step[];
  /** Steps that run only after all `steps` succeeded: until then, the next cleanup needs these objects. */
  readonly closing: readonly Step[];
  /** Messages for an operator: what is left, and why. */
  readonly left: readonly string[];
  /** Links of running pods. */
  readonly pods: readonly string[];
}

export interface CleanupOptions {
  /** True if configurations that weftd disabled are restored. */
  readonly restores: boolean;
  /** Names of the links that `weft install` creates. */
  readonly pluginNames: readonly string[];
}

export function planCleanup(observed: ObservedNode, { restores, pluginNames }: CleanupOptions): CleanupPlan {
  const left: string[] = [];
  const steps = [
    // The configuration comes first, so that the runtime attaches no more pods with it.
    ...planConfiguration(observed, restores, left),
    ...planFilters(observed, left),
    ...observed.routes
      .filter(({ protocol }) => protocol === RTPROT_WEFT)
      .map((route): Step => ({ kind: "route", request: deleteRoute(route) })),
    ...planLinks(observed, left),
    ...observed.runDirs.flatMap((directory) => planFolder(directory, RUN_FILES, left)),
    ...(observed.state === undefined ? [] : planFolder(observed.state, [KNOWN_SERVERS_FILE], left)),
    ...observed.indexPaths.map(({ path, isDirectory }) => removal(path, isDirectory)),
    ...planExecutables(observed, pluginNames, left),
  ];
  left.push(
    ...observed.reserved.map(
      ({ dataDir, count }) => `${count} reserved addresses in ${dataDir}: DEL of the pods, or weft ipam gc, frees them`,
    ),
  );
  if (observed.runDirs.some(({ files }) => files.includes(TABLE_FILE)))
    left.push("the annotations that weftd has written to this node's Node");
  return {
    steps,
    closing: planClosing(observed),
    left,
    pods: observed.links.filter(isPodLink).map(({ name }) => name),
  };
}

/** Returns the commands that do the same by hand. */
export function stepText(step: Step, observed: Pick<ObservedNode, "links">): string[] {
  switch (step.kind) {
    case "route":
      return [withNames(step.request.text, observed)];
    case "rules":
      return [...closingText(step.tables), ...step.requests.map(({ text }) => text)];
    case "legacy":
      return [[step.path, ...step.args.map(quoted)].join(" ")];
    case "file":
      return [fileStepText(step.file)];
  }
}

function removal(path: string, isDirectory = false): Step {
  return { kind: "file", file: { do: isDirectory ? "removeDirectory" : "remove", path } };
}

function renaming(path: string, to: string): Step {
  return { kind: "file", file: { do: "rename", path, to } };
}

function isPodLink({ kind, alias }: Link): boolean {
  return kind === "veth" && alias.startsWith(MARK_START);
}

function planConfiguration({ places, confFiles }: ObservedNode, restores: boolean, left: string[]): Step[] {
  const path = (name: string) => `${places.cniConfDir}/${name}`;
  const own = confFiles
    .filter((name) => name === CONFLIST_NAME || name === `.${CONFLIST_NAME}.new`)
    .map((name) => (name === CONFLIST_NAME ? renaming(path(name), path(REMOVED_CONFLIST)) : removal(path(name))));
  const disabled = confFiles.filter((name) => name.endsWith(DISABLED_SUFFIX)).sort();
  if (!restores) {
    left.push(...disabled.map((name) => `${path(name)}: weftd disabled it; --restore restores it`));
    return own;
  }
  return [
    ...own,
    ...disabled.flatMap((name): Step[] => {
      const to = name.slice(0, -DISABLED_SUFFIX.length);
      if (!confFiles.includes(to)) return [renaming(path(name), path(to))];
      left.push(`${path(name)}: ${to} exists again`);
      return [];
    }),
  ];
}

function planClosing({ places, confFiles }: ObservedNode): Step[] {
  const isThere = confFiles.includes(CONFLIST_NAME) || confFiles.includes(REMOVED_CONFLIST);
  return isThere ? [removal(`${places.cniConfDir}/${REMOVED_CONFLIST}`)] : [];
}

/** Removes all rules and tables of weft in one transaction. */
export function planRules({ generation, tables, forwarding, podAddresses: addresses }: RulesSeen): Change {
  const isOurs = (owner: string) => owner.startsWith(MARK_START) || owner.startsWith(DAEMON_MARK);
  const own = tables.filter(({ table }) => isOurTable(table));
  const { requests, needsGeneration } = forgetForwarded(forwarding, { isWanted: isOurs, addresses }, FORWARD_OPTIONS);
  return { requests: [...requests, ...own.map(deleteTable)], generation: needsGeneration ? generation : undefined };
}

function planFilters({ rules, legacy }: ObservedNode, left: string[]): Step[] {
  const { requests } = planRules(rules);
  left.push(
    ...legacy
      .filter(({ path }) => path === undefined)
      .map(
        ({ program }) =>
          `rules in ${program}'s chain FORWARD, if any: ${program} is not installed, so they cannot be read`,
      ),
  );
  return [
    ...(requests.length > 0 ? [{ kind: "rules", requests, tables: rules.tables } as const] : []),
    ...legacy.flatMap(({ path, deletions }) =>
      path === undefined ? [] : deletions.map((args): Step => ({ kind: "legacy", path, args })),
    ),
  ];
}

function planLinks({ links, routes, stated: { bridge, others }, confFiles }: ObservedNode, left: string[]): Step[] {
  const marked = links.filter((link) => isOwnDevice(link) || link.alias.startsWith(MARK_START));
  const isUsed = (device: Link) => isOwnDevice(device) && strangersRoutes(device, routes).length > 0;
  left.push(
    ...marked.filter(isUsed).map((device) => {
      const [route] = strangersRoutes(device, routes).map((each) => withNames(describeRoute(each), { links }));
      return `${device.kind} ${device.name}: another program's routes use it, such as ${route}`;
    }),
  );
  const unused = marked.filter((device) => !isUsed(device));
  const steps = unused.map(({ name }): Step => ({ kind: "route", request: deleteLink(name) }));
  const device = links.find(({ name, kind }) => name === (bridge ?? DEFAULT_BRIDGE) && kind === "bridge");
  if (device === undefined) return steps;
  const other = others.find((each) => each.bridge === device.name);
  if (bridge === undefined) {
    if (other === undefined) {
      left.push(
        `bridge ${device.name}: no configuration names it; if no program needs it, run ip link del ${device.name}`,
      );
    }
    return steps;
  }
  if (other !== undefined) {
    left.push(`bridge ${device.name}: ${other.file} attaches pods to it, too`);
    return steps;
  }
  const strangers = links.filter(
    ({ masterIndex, alias }) => masterIndex === device.index && !alias.startsWith(MARK_START),
  );
  if (strangers.length > 0) {
    left.push(
      `bridge ${device.name}: attached to it are ${strangers.map(({ name }) => name).join(", ")}: ports that weft did not create`,
    );
    return steps;
  }
  if (confFiles.some((name) => name.endsWith(DISABLED_SUFFIX))) {
    left.push(`bridge ${device.name}: it existed before weft, and the network that weft took it over from may need it`);
    return steps;
  }
  return [...steps, { kind: "route", request: deleteLink(device.name) }];
}

/**
 * Returns routes through `device` that are neither weft's nor the kernel's. After a return to flannel, flanneld uses
 * the device unchanged.
 */
function strangersRoutes({ index }: Link, routes: readonly ObservedRoute[]): ObservedRoute[] {
  return routes.filter(
    ({ outputIndex, protocol }) => outputIndex === index && protocol !== RTPROT_WEFT && protocol !== RTPROT_KERNEL,
  );
}

const RUN_FILES = [TABLE_FILE, STAMP_FILE, SOCKET_FILE, SERVICES_SOCKET_FILE, POLICY_SOCKET_FILE, LOCK_FILE];

/** Removes the files with a name in `known`, and the folder if it contains nothing else. */
function planFolder({ path, files }: FolderSeen, known: readonly string[], left: string[]): Step[] {
  const isOurs = (name: string) => known.some((each) => name === each || name === `.${each}.new`);
  const steps = files
    .filter(isOurs)
    .sort()
    .map((name) => removal(`${path}/${name}`));
  const strangers = files.filter((name) => !isOurs(name));
  if (strangers.length === 0) return [...steps, removal(path, true)];
  left.push(...strangers.map((name) => `${path}/${name}: not a file of weft`));
  return steps;
}

function planExecutables(
  { places: { binDir }, bin }: ObservedNode,
  pluginNames: readonly string[],
  left: string[],
): Step[] {
  if (binDir === undefined || bin === undefined) {
    left.push("the executables; use --bin-dir DIR to remove them from the runtime's plugin directory");
    return [];
  }
  const restoration = planRestoration(bin, pluginNames);
  left.push(...restoration.left);
  return restoration.steps.map((file): Step => ({ kind: "file", file }));
}

/**
 * A plugin that gives the pod one interface and needs nothing else on the host. It reserves the addresses first, so a
 * request that cannot be served changes no device. (Only dhcp needs the interface before it can request an address.)
 * Then it makes and configures the interface. Such plugins differ only in how they make the interface.
 */
import { delegateCheck, delegateDel, delegateGc, delegateStatus } from "../cni/delegate.ts";
import { CniError, ErrorCode } from "../cni/errors.ts";
import type { CniRequest, Plugin } from "../cni/plugin.ts";
import { decodeDns, EMPTY_RESULT, type Result } from "../cni/result.ts";
import { type Undo, undoing } from "../cni/undo.ts";
import { configureInterface } from "../kernel/interface.ts";
import { changeLink, getLink, type Link, parseLink } from "../kernel/link.ts";
import { type BlockingNetlink, openRoute } from "../netlink/blocking.ts";
import type { Request } from "../netlink/message.ts";
import type { NetworkNamespace } from "../sys/system.ts";
import { checkInterface, type ExpectedInterface } from "./check.ts";
import { collectGarbage } from "./garbage.ts";
import { ipamType, reserveAddresses } from "./ipam.ts";
import { assertNameIsFree, removeLink } from "./links.ts";
import { inOwnPod } from "./own-pod.ts";
import { podRoutes } from "./routes.ts";
import { prepareNeighbour } from "./sysctls.ts";

/** Netlink sockets in the host's and in the pod's namespace. */
export interface NamespaceSockets {
  readonly host: BlockingNetlink;
  readonly pod: BlockingNetlink;
}

/** The context in which ADD makes an interface. */
export interface AttachContext {
  readonly request: CniRequest;
  readonly namespace: NetworkNamespace;
  readonly sockets: NamespaceSockets;
  readonly undo: Undo;
}

/** The state that CHECK has found so far. */
export interface Checked {
  readonly request: CniRequest;
  readonly sockets: NamespaceSockets;
  /** CNI_IFNAME in the pod. */
  readonly link: Link;
}

/** The parts that differ between plugins. `C` is the plugin's configuration. */
export interface InterfaceKind<C> {
  readonly name: string;
  readonly about: string;
  /** True if the interface is useless without addresses. A configuration without `ipam` is then refused. */
  readonly needsAddresses?: boolean;
  /**
   * Parses the configuration without reading any state of the machine. Throws `CniError` 7, or 2 for an unsupported
   * option.
   */
  parse(request: CniRequest): C;
  /** False if the pod gets a device that is not a network link. The addresses are then only in the result. */
  hasLink?(request: CniRequest, config: C): boolean;
  /**
   * Checks that CNI_IFNAME can be made, before anything is changed. The returned function makes it in the pod, down,
   * and pushes the undo step.
   */
  prepare(context: AttachContext, config: C): () => void;
  /** Removes the interface. By default, removes the pod's link. Succeeds if it no longer exists. */
  remove?(request: CniRequest): void;
  /** Returns the state that CHECK requires of the interface. */
  expected(config: C): ExpectedInterface;
  /** CHECK for the plugin's own settings. Throws `CniError`. */
  check?(checked: Checked, config: C): void;
  /**
   * STATUS in addition to that of `ipam`. Throws `CniError` 50 for a condition that makes every ADD fail and that no
   * DEL can repair.
   */
  status?(request: CniRequest, config: C): void;
  /** GC in addition to that of `ipam`. */
  collect?(request: CniRequest): void;
  /** Addresses from a source other than `ipam`. */
  otherAddresses?(request: CniRequest): Result | undefined;
}

export function interfacePlugin<C>(kind: InterfaceKind<C>): Plugin {
  const remove = kind.remove ?? removeFromPod;
  return {
    name: kind.name,
    about: kind.about,
    add(request) {
      const config = parse(kind, request);
      const dns = decodeDns(request.config.object("dns"));
      const result = withSockets(request, (sockets) =>
        undoing((undo) => attach(kind, config, { request, namespace: request.requireNamespace(), sockets, undo })),
      );
      return Object.keys(dns).length > 0 ? { ...result, dns } : result;
    },
    /** Removes the interface first, so no other pod gets the address while the old pod may still answer to it. */
    del(request) {
      remove(request);
      const ipam = ipamType(request.config);
      if (ipam !== undefined) delegateDel(request, ipam);
    },
    check(request) {
      const config = parse(kind, request);
      const previous = request.requirePrevResult();
      withSockets(request, (sockets) => {
        if (kind.hasLink?.(request, config) === false) return;
        const link = checkInterface(sockets.pod, request, previous, kind.expected(config));
        kind.check?.({ request, sockets, link }, config);
      });
      const ipam = ipamType(request.config);
      if (ipam !== undefined) delegateCheck(request, ipam);
    },
    status(request) {
      kind.status?.(request, parse(kind, request));
      const ipam = ipamType(request.config);
      if (ipam !== undefined) delegateStatus(request, ipam);
    },
    /** The interfaces themselves disappear with their pods' namespaces. */
    gc(request) {
      const ipam = ipamType(request.config);
      collectGarbage(request, [
        () => kind.collect?.(request),
        () => (ipam === undefined ? undefined : delegateGc(request, ipam)),
      ]);
    },
  };
}

function parse<C>(kind: InterfaceKind<C>, request: CniRequest): C {
  const config = kind.parse(request);
  // STATUS has no prevResult, so the addresses of an earlier plugin are unknown.
  const mayBeServed = kind.otherAddresses !== undefined && request.call.environment.verb === "STATUS";
  const isServed = ipamType(request.config) !== undefined || kind.otherAddresses?.(request) !== undefined;
  if (kind.needsAddresses === true && !isServed && !mayBeServed) {
    throw request.config.invalid("ipam", `an object with the type of an IPAM plugin: ${kind.name} needs addresses`);
  }
  return config;
}

function attach<C>(kind: InterfaceKind<C>, config: C, context: AttachContext): Result {
  const { request, sockets, undo } = context;
  const ipam = ipamType(request.config);
  const isDhcp = ipam === "dhcp";
  if (kind.hasLink?.(request, config) === false) {
    return describe(request, undefined, ipam === undefined ? EMPTY_RESULT : reserveAddresses(request, ipam, undo));
  }
  assertNameIsFree(sockets.pod, request.ifName);
  const make = kind.prepare(context, config);
  let addresses = ipam === undefined || isDhcp ? undefined : reserveAddresses(request, ipam, undo);
  make();
  if (ipam === undefined) addresses = kind.otherAddresses?.(request);
  const link = readyLink(context, addresses);
  if (ipam !== undefined && isDhcp) {
    sockets.pod.run(changeLink(link.index, { up: true }));
    addresses = reserveAddresses(request, ipam, undo);
  }
  sockets.pod.run(...configuration(link, addresses));
  return describe(request, link, addresses ?? EMPTY_RESULT);
}

/** Returns the new link, which is still down, after applying the settings that it needs before it comes up. */
function readyLink({ request, namespace, sockets }: AttachContext, addresses: Result | undefined): Link {
  const { ifName, system } = request;
  if (addresses?.ips.some(({ address }) => address.address.family === 6) === true) {
    prepareNeighbour(system, namespace, ifName);
  }
  const [message] = sockets.pod.run(changeLink(ifName, { arpNotify: true }), getLink(ifName));
  if (message === undefined)
    throw new Error(`the kernel did not answer "ip link show ${ifName}" in ${sockets.pod.where}`);
  return parseLink(message);
}

/**
 * Adds the addresses before the link comes up: the kernel then announces them to neighbours. Routes need the link up.
 */
function configuration({ index }: Link, addresses: Result | undefined): Request[] {
  const up = changeLink(index, { up: true });
  if (addresses === undefined) return [up];
  const { ips, routes } = addresses;
  if (ips.length === 0) {
    throw new CniError(ErrorCode.invalidConfig, "ipam: expected at least one address from the IPAM plugin, got none");
  }
  const prefixes = ips.map(({ address }) => address);
  return [...configureInterface(index, prefixes, []), up, ...configureInterface(index, [], podRoutes(routes, ips))];
}

function describe(request: CniRequest, link: Link | undefined, { ips, routes, dns }: Result): Result {
  return {
    interfaces: link === undefined ? [] : [{ name: link.name, mac: link.mac, sandbox: request.netnsPath }],
    ips: link === undefined ? ips : ips.map((ip) => ({ ...ip, interface: 0 })),
    routes,
    dns,
  };
}

function removeFromPod(request: CniRequest): void {
  inOwnPod(request, (pod) => removeLink(pod, request.ifName));
}

/**
 * Runs `work` with a socket on the host and one in the pod. Throws `CniError` 4 if the pod's namespace no longer
 * exists.
 */
export function withSockets<T>(request: CniRequest, work: (sockets: NamespaceSockets) => T): T {
  const namespace = request.requireNamespace();
  const host = openRoute(request.system);
  try {
    const pod = openRoute(request.system, namespace);
    try {
      return work({ host, pod });
    } finally {
      pod.close();
    }
  } finally {
    host.close();
  }
}

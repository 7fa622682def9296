/**
 * A plugin that gives the pod one interface and needs nothing else on the host: addresses are reserved first, so that
 * what cannot be served touches no device (dhcp alone needs the interface before it can ask); then the interface is made
 * and configured. What differs between such plugins is how the interface is made.
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

/** Both roads to the kernel. */
export interface NamespaceSockets {
  readonly host: BlockingNetlink;
  readonly pod: BlockingNetlink;
}

/** What an interface is made with. */
export interface AttachContext {
  readonly request: CniRequest;
  readonly namespace: NetworkNamespace;
  readonly sockets: NamespaceSockets;
  readonly undo: Undo;
}

/** What CHECK has found so far. */
export interface Checked {
  readonly request: CniRequest;
  readonly sockets: NamespaceSockets;
  /** CNI_IFNAME in the pod. */
  readonly link: Link;
}

/** What is a plugin's own; `C` is its configuration. */
export interface InterfaceKind<C> {
  readonly name: string;
  readonly about: string;
  /** True for interfaces that are of no use without addresses: a configuration without `ipam` is refused. */
  readonly needsAddresses?: boolean;
  /** Reads the configuration, and nothing of the machine. Throws `CniError` 7, and 2 for what is not served. */
  parse(request: CniRequest): C;
  /** False where the pod gets a device that the kernel has no link for: then there are addresses in the result alone. */
  hasLink?(request: CniRequest, config: C): boolean;
  /**
   * Looks whether CNI_IFNAME can be made, before anything is changed. What comes back makes it in the pod, down, and
   * pushes what takes it back.
   */
  prepare(context: AttachContext, config: C): () => void;
  /** Gives it up; the pod's link is removed when left out. What is gone is success. */
  remove?(request: CniRequest): void;
  /** What CHECK expects of the interface. */
  expected(config: C): ExpectedInterface;
  /** CHECK of what is this plugin's own. Throws `CniError`. */
  check?(checked: Checked, config: C): void;
  /** STATUS besides that of `ipam`. Throws `CniError` 50 for what makes every ADD fail and no DEL can mend. */
  status?(request: CniRequest, config: C): void;
  /** GC besides that of `ipam`. */
  collect?(request: CniRequest): void;
  /** Addresses that come from elsewhere than `ipam`. */
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
    /** The interface first, so that no address is handed out while its old owner may still answer to it. */
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
    /** The interfaces themselves go with their pods' namespaces. */
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
  // STATUS has no prevResult: what the plugin before would bring is not known.
  const mayBeServed = kind.otherAddresses !== undefined && request.call.environment.verb === "STATUS";
  const isServed = ipamType(request.config) !== undefined || kind.otherAddresses?.(request) !== undefined;
  if (kind.needsAddresses === true && !isServed && !mayBeServed) {
    throw request.config.invalid("ipam", `an object with the type of an address manager, which ${kind.name} needs`);
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

/** The new link, still down, with the settings that it must have before it comes up. */
function readyLink({ request, namespace, sockets }: AttachContext, addresses: Result | undefined): Link {
  const { ifName, system } = request;
  if (addresses?.ips.some(({ address }) => address.address.family === 6) === true) {
    prepareNeighbour(system, namespace, ifName);
  }
  const [message] = sockets.pod.run(changeLink(ifName, { arpNotify: true }), getLink(ifName));
  if (message === undefined) throw new Error(`no answer to "ip link show ${ifName}" in ${sockets.pod.where}`);
  return parseLink(message);
}

/** Addresses first: as the link comes up, the kernel tells neighbours of those that it has. Routes need it up. */
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

/** Sockets for `work`, on the host and in the pod. Throws `CniError` 4 where the pod's namespace is gone. */
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

/** The way of a packet from this node, step by step, to where it arrives, leaves the node, or ends. Pure. */

import { BACKENDS, backendNamed } from "../../pkg/backend/backends.ts";
import type { DeviceInspection, Hop } from "../../pkg/backend/inspection.ts";
import type { Peer } from "../../pkg/backend/node.ts";
import { type Address, formatAddress, isSameAddress } from "../../pkg/ip/address.ts";
import { contains, formatPrefix } from "../../pkg/ip/prefix.ts";
import type { Link } from "../../pkg/kernel/link.ts";
import { ownerMark } from "../../pkg/kernel/owner.ts";
import { addRoute, describeRoute, type ObservedRoute } from "../../pkg/kernel/route.ts";
import { NF_INET_HOOK } from "../../pkg/netlink/nftables.ts";
import { RT_TABLE_MAIN, RTN_LOCAL, RTN_UNICAST } from "../../pkg/netlink/route.ts";
import { placeText } from "../../pkg/nft/ruleset.ts";
import type { Packet } from "../../pkg/packet-walk/packet.ts";
import { type Ending, walk } from "../../pkg/packet-walk/ruleset.ts";
import { hostRoute } from "../../pkg/reconcile/pod-cables.ts";
import { withNames } from "../node/kernel.ts";
import { isSameGateway, peerStates } from "../status/peers.ts";
import type { Knowledge, Owner, Question } from "./knowledge.ts";
import { BLOCKING, deedText, endingText, noRouteText, podText, showChain, subnetText } from "./words.ts";

export function explainWay(question: Question, knowledge: Knowledge): Hop[] {
  return new Way(question, knowledge).walk();
}

/** Thrown to end the way: what there is to say has been said. */
class End extends Error {}

class Way {
  readonly #hops: Hop[] = [];
  readonly #question: Question;
  readonly #knowledge: Knowledge;

  constructor(question: Question, knowledge: Knowledge) {
    this.#question = question;
    this.#knowledge = knowledge;
  }

  walk(): Hop[] {
    try {
      this.#walk();
    } catch (error) {
      if (!(error instanceof End)) throw error;
    }
    return this.#hops;
  }

  #walk(): void {
    const { destination } = this.#question;
    this.#whose();
    const input = this.#leavePod();
    // What comes in meets the rules before a route is looked for, and may get another destination there.
    if (input !== undefined)
      this.#filter(NF_INET_HOOK.prerouting, this.#packet(input, undefined, this.#typeOf(input)), "prerouting");
    const [route, type] = this.#route(input);
    const output = this.#linkOf(route.outputIndex);
    const packet = this.#packet(input, output, type, route.preferredSource);
    if (input === undefined) this.#filter(NF_INET_HOOK.output, packet, "output");
    if (type === RTN_LOCAL) {
      this.#filter(NF_INET_HOOK.input, packet, "input");
      this.#say({
        at: "arrives",
        state: "arrives",
        text: `${formatAddress(destination)} is an address of this node itself`,
        show: `ip address show to ${formatAddress(destination)}`,
      });
      return;
    }
    if (this.#isUnassigned(destination)) {
      this.#end({
        at: "subnet",
        text: `no node has a subnet that holds ${formatAddress(destination)}: the packet leaves this node, and no pod gets it`,
        show: "weft status",
        remedy: "ask by the address that the pod has now; where its node is missing in weft status, start weftd there",
      });
    }
    if (input !== undefined) this.#filter(NF_INET_HOOK.forward, packet, "forward");
    this.#filter(NF_INET_HOOK.postrouting, packet, "postrouting");
    this.#mtu(route, output);
    if (this.#isOwnPod(destination)) this.#toOwnPod(output);
    else this.#toOtherNode(route, output);
  }

  #say(hop: Hop): void {
    this.#hops.push(hop);
  }

  #end(hop: Omit<Hop, "state">, state: "ends" | "astray" | "note" = "ends"): never {
    this.#hops.push({ ...hop, state });
    throw new End();
  }

  #linkOf(index: number | undefined): Link | undefined {
    return this.#knowledge.observed.links.find((link) => link.index === index);
  }

  /** What the destination is to the cluster. */
  #whose(): void {
    const { destination } = this.#question;
    const { table } = this.#knowledge;
    const text = formatAddress(destination);
    if (table === undefined) {
      this.#say({
        at: "address",
        state: "note",
        text: `no node table of this boot tells whose ${text} is: weftd has not served here`,
      });
      return;
    }
    const peer = this.#peerOf(destination);
    const node = table.peers.find(({ addresses }) => addresses.some((address) => isSameAddress(address, destination)));
    const subnet = [...table.node.subnets, ...(peer?.subnets ?? [])].find((one) => contains(one, destination));
    if (this.#isOwnPod(destination))
      this.#say({
        at: "address",
        state: "goes",
        text: `${text} is of this node's own pods (${table.node.name}, ${subnetText(subnet)})`,
      });
    else if (peer !== undefined)
      this.#say({
        at: "address",
        state: "goes",
        text: `${text} is of ${peer.name}'s pods (${subnetText(subnet)}), a node at ${peer.addresses.map(formatAddress).join(", ") || "no known address"}`,
      });
    else if (node !== undefined)
      this.#say({ at: "address", state: "goes", text: `${text} is the node ${node.name} itself` });
    else if (table.conf.networks.some((network) => contains(network, destination)))
      this.#say({
        at: "address",
        state: "note",
        text: `${text} is in the pods' network, and no node that is known has that subnet`,
      });
    else
      this.#say({ at: "address", state: "goes", text: `${text} is no pod's: a service's, or outside of the cluster` });
  }

  #peerOf(address: Address): Peer | undefined {
    return this.#knowledge.table?.peers.find(({ subnets }) => subnets.some((subnet) => contains(subnet, address)));
  }

  /** Of the pods' network, and of no node's subnet. */
  #isUnassigned(address: Address): boolean {
    const { table } = this.#knowledge;
    if (table === undefined || this.#isOwnPod(address) || this.#peerOf(address) !== undefined) return false;
    const isNode = table.peers.some(({ addresses }) => addresses.some((one) => isSameAddress(one, address)));
    return !isNode && table.conf.networks.some((network) => contains(network, address));
  }

  #isOwnPod(address: Address): boolean {
    return this.#knowledge.table?.node.subnets.some((subnet) => contains(subnet, address)) === true;
  }

  /** The host's end of a pod's link: by its mark, or, for pods of others' plugins, not at all. */
  #podLink({ containerId, ifName }: Owner): Link | undefined {
    const { observed, attachment } = this.#knowledge;
    const mark = ownerMark({ network: attachment.network, containerId, ifName: ifName ?? "" });
    return observed.links.find(({ alias }) => (ifName === undefined ? alias.startsWith(mark) : alias === mark));
  }

  /** From the pod to the node; the link by which IP sees the packet come in. Undefined for the node's own packets. */
  #leavePod(): Link | undefined {
    const { source } = this.#question;
    const { attachment, ends } = this.#knowledge;
    if (source === undefined) {
      this.#say({ at: "from", state: "goes", text: "the packet is this node's own" });
      return undefined;
    }
    const text = formatAddress(source);
    const owner = this.#knowledge.reservationOf(source);
    if (owner === undefined) this.#end({ at: "from", text: `no pod of this node has ${text}`, show: "weft ipam ls" });
    const link = this.#podLink(owner);
    const who = podText(text, owner);
    if (link === undefined)
      this.#end({
        at: "from",
        text: `${who} has no link on this node: its interface is gone`,
        show: "ip link show type veth",
      });
    const bridge = this.#linkOf(link.masterIndex);
    if (bridge === undefined && ends.ports.has(link.alias))
      this.#end({
        at: "from",
        text: `${who} hangs on ${link.name}, which is no port of ${attachment.bridge}`,
        show: `ip link show ${link.name}`,
        remedy: `ip link set ${link.name} master ${attachment.bridge} up`,
      });
    for (const one of [link, ...(bridge === undefined ? [] : [bridge])]) {
      if (!one.isUp)
        this.#end({
          at: "from",
          text: `${who} hangs on ${one.name}, which is down`,
          show: `ip link show ${one.name}`,
          remedy: `ip link set ${one.name} up`,
        });
    }
    this.#say({
      at: "from",
      state: "goes",
      text: `${who} sends by ${link.name}${bridge === undefined ? "" : `, a port of ${bridge.name}`}`,
      show: bridge === undefined ? `ip link show ${link.name}` : `bridge link show dev ${link.name}`,
    });
    const { destination } = this.#question;
    const isAsked = this.#isOwnPod(destination) && this.#isOwnPod(source) && !this.#isGateway(destination);
    if (bridge !== undefined && isAsked) this.#askBridge(bridge);
    return bridge ?? link;
  }

  /** A pod on the bridge takes the whole subnet for its own link. Ends the way of a frame to another port. */
  #askBridge(bridge: Link): void {
    const { destination } = this.#question;
    const { ends, missingAnswer, observed, reservationOf } = this.#knowledge;
    const owner = reservationOf(destination);
    const target = owner === undefined ? undefined : this.#podLink(owner);
    if (target === undefined || !ends.cables.has(target.alias)) {
      this.#say({
        at: "bridge",
        state: "goes",
        text: `both are on ${bridge.name}: frames go from port to port, and IP's routes are not asked`,
        show: `bridge fdb show br ${bridge.name}`,
      });
      this.#toOwnPod(bridge);
      throw new End();
    }
    const text = `${formatAddress(destination)} has a link of its own, ${target.name}`;
    const show = `ip ${destination.family === 6 ? "-6 " : ""}neigh show proxy dev ${bridge.name}`;
    const remedy = missingAnswer(bridge, destination);
    if (remedy !== undefined)
      this.#end({
        at: "bridge",
        text: `${text}, and the node does not answer for it on ${bridge.name}`,
        show,
        remedy: withNames(remedy, observed),
      });
    this.#say({
      at: "bridge",
      state: "goes",
      text: `${text}: the node answers for it on ${bridge.name}, and forwards`,
      show,
    });
  }

  #isGateway(address: Address): boolean {
    return this.#knowledge.observed.addresses.some(({ prefix }) => isSameAddress(prefix.address, address));
  }

  #packet(
    input: Link | undefined,
    output: Link | undefined,
    destinationType: number,
    preferredSource?: Address,
  ): Packet {
    const { destination, source = preferredSource, protocol, port } = this.#question;
    // The node's own packet to itself has one address at both ends.
    return {
      source: source ?? destination,
      destination,
      protocol,
      destinationPort: port,
      input,
      output,
      destinationType,
    };
  }

  /** RTN_LOCAL for the node's own addresses. */
  #typeOf(input: Link): number {
    const { destination, source } = this.#question;
    const answer = this.#knowledge.routeTo(destination, { source, inputIndex: input.index });
    return typeof answer !== "string" && answer.type === RTN_LOCAL ? RTN_LOCAL : RTN_UNICAST;
  }

  /** What the kernel answers, with the entry that it found. */
  #route(input: Link | undefined): readonly [route: ObservedRoute, type: number] {
    const { destination, source } = this.#question;
    const { routeTo, observed } = this.#knowledge;
    const asked = input === undefined ? {} : { source, inputIndex: input.index };
    const show = `ip route get ${formatAddress(destination)}${input === undefined ? "" : ` from ${formatAddress(source as Address)} iif ${input.name}`}`;
    const entry = routeTo(destination, { ...asked, isEntry: true });
    const answer = routeTo(destination, asked);
    if (typeof answer === "string") {
      // What swallows or refuses has no entry in the kernel's answer.
      const blocking = this.#blockingRoute();
      if (blocking !== undefined) {
        const { name, deed } = BLOCKING.get(blocking.type) ?? { name: "", deed: "" };
        const route = `${name} ${formatPrefix(blocking.destination)}`;
        const remedy = `ip route del ${route}`;
        this.#end({ at: "route", text: `here the packet ends: the route "${route}" ${deed}`, show, remedy });
      }
      this.#end({
        at: "route",
        text: noRouteText(answer, input),
        show,
        remedy: this.#missingRoute() ?? (input === undefined ? undefined : "weft doctor"),
      });
    }
    if (answer.type === RTN_LOCAL) return [answer, RTN_LOCAL];
    const text = typeof entry === "string" ? describeRoute(answer) : describeRoute(entry);
    this.#say({ at: "route", state: "goes", text: `by the route "${withNames(text, observed)}"`, show });
    const output = this.#linkOf(answer.outputIndex);
    if (output === undefined || !output.isUp)
      this.#end({
        at: "route",
        text: `it leads by ${output?.name ?? "a device"}, which is ${output === undefined ? "gone" : "down"}`,
        show: `ip link show ${output?.name ?? ""}`,
        remedy: output === undefined ? undefined : `ip link set ${output.name} up`,
      });
    this.#assertLeadsToPeer(answer, show, text);
    return [answer, RTN_UNICAST];
  }

  /** The most specific route of the main table, where that is one that leads nowhere. */
  #blockingRoute(): ObservedRoute | undefined {
    const { destination } = this.#question;
    const matching = this.#knowledge.observed.routes
      .filter((route) => route.table === RT_TABLE_MAIN && contains(route.destination, destination))
      .sort((a, b) => b.destination.length - a.destination.length || (a.priority ?? 0) - (b.priority ?? 0));
    return matching[0] !== undefined && BLOCKING.has(matching[0].type) ? matching[0] : undefined;
  }

  /** Of a peer's pod: the route that weftd would make. */
  #entriesOf(peer: Peer) {
    const { table, desired, observed } = this.#knowledge;
    if (table === undefined || desired === undefined) return undefined;
    return peerStates({ node: table.node, peers: [peer] }, desired, observed)[0];
  }

  #missingRoute(): string | undefined {
    const peer = this.#peerOf(this.#question.destination);
    const state = peer === undefined ? undefined : this.#entriesOf(peer);
    const route = state?.entries.find(
      ({ kind, presence, text }) => kind === "route" && presence !== "there" && text !== "",
    );
    return route === undefined ? undefined : `ip route replace ${route.text}`;
  }

  /** A peer's pod by another way than weftd's is a packet that goes astray. */
  #assertLeadsToPeer(route: ObservedRoute, show: string, text: string): void {
    const { destination } = this.#question;
    const { desired, observed } = this.#knowledge;
    const peer = this.#peerOf(destination);
    if (peer === undefined || desired === undefined) return;
    const wanted = desired.dataPath.routes.find((one) => contains(one.destination, destination));
    if (wanted === undefined) {
      const reason = this.#entriesOf(peer)?.problems.join("; ") || "weftd knows no way to it";
      this.#end({ at: "route", text: `this is no route to ${peer.name}: ${reason}`, show }, "astray");
    }
    const index =
      "device" in wanted.by
        ? observed.links.find(({ name }) => "device" in wanted.by && name === wanted.by.device)?.index
        : wanted.by.index;
    if (route.outputIndex === index && isSameGateway(route.gateway, wanted.gateway)) return;
    this.#end(
      {
        at: "route",
        text: `this does not lead to ${peer.name}: weftd's route is missing, or another one comes before it`,
        show,
        remedy: this.#missingRoute() ?? withNames(`ip route del ${text}`, observed),
      },
      "astray",
    );
  }

  /** All base chains of a hook. */
  #filter(hook: number, packet: Packet, name: string): void {
    const { ruleset, legacy } = this.#knowledge;
    const { ending, translation, perhaps } = walk(ruleset, hook, packet);
    if (legacy.includes(packet.destination.family) && name === "forward")
      this.#say({
        at: name,
        state: "note",
        text: "iptables-legacy has rules, which are not seen here",
        show: "iptables-legacy -S",
      });
    for (const possible of perhaps.slice(0, 3))
      this.#say({
        at: name,
        state: "note",
        text: `${endingText(possible)} may ${deedText(possible)}: not all that it asks is known of this packet`,
        show: showChain(possible),
      });
    if (ending?.action === "drop") {
      const by =
        ending.rule === undefined
          ? `nft chain ${placeText(ending.chain)} '{ policy accept; }'`
          : `nft delete rule ${placeText(ending.chain)} handle ${ending.rule.handle}`;
      this.#end({ at: name, text: `${endingText(ending)} drops it`, show: showChain(ending), remedy: by });
    }
    if (translation !== undefined) this.#translated(translation, name);
    else if (name === "postrouting" && this.#question.source !== undefined && !this.#isInside())
      this.#say({
        at: name,
        state: "goes",
        text: "no rule masquerades it: whoever gets it sees the pod's own address",
        show: "nft list table inet weft",
      });
  }

  #isInside(): boolean {
    return (
      this.#knowledge.table?.conf.networks.some((network) => contains(network, this.#question.destination)) === true
    );
  }

  #translated(translation: Ending, name: string): void {
    const { action } = translation;
    if (action === "dnat" || action === "redirect")
      this.#end(
        {
          at: name,
          text: `${endingText(translation)} gives it another destination: the packet goes on as one to an endpoint of this service, which the rule chooses; ask for the endpoint's address`,
          show: showChain(translation),
        },
        "note",
      );
    this.#say({
      at: name,
      state: "goes",
      text: `${endingText(translation)} ${action === "masquerade" ? "gives it the node's own address as its source (masquerade)" : "gives it another source"}`,
      show: showChain(translation),
    });
  }

  #mtu({ mtu }: ObservedRoute, output: Link | undefined): void {
    if (output === undefined) return;
    const bytes = mtu ?? output.mtu;
    this.#say({
      at: "device",
      state: "goes",
      text: `out by ${output.name}, which takes packets of ${bytes} bytes`,
      show: `ip -d link show ${output.name}`,
    });
  }

  /** The last step of a pod of this node. */
  #toOwnPod(output: Link | undefined): void {
    const { destination } = this.#question;
    const { reservationOf, observed, attachment, ends } = this.#knowledge;
    const text = formatAddress(destination);
    const owner = reservationOf(destination);
    if (owner === undefined)
      this.#end({ at: "pod", text: `nobody has reserved ${text}: no pod has it`, show: "weft ipam ls" });
    const link = this.#podLink(owner);
    const who = podText(text, owner);
    if (link === undefined)
      this.#end({
        at: "pod",
        text: `${who} has no link on this node: its address is left over`,
        show: "weft ipam ls",
        remedy: "weft ipam gc",
      });
    if (!link.isUp)
      this.#end({
        at: "pod",
        text: `${who} hangs on ${link.name}, which is down`,
        show: `ip link show ${link.name}`,
        remedy: `ip link set ${link.name} up`,
      });
    const isPort = output !== undefined && link.masterIndex === output.index;
    if (!isPort && output?.index !== link.index)
      this.#end(
        ends.ports.has(link.alias)
          ? {
              at: "pod",
              text: `${who} hangs on ${link.name}, which is no port of ${output?.name}`,
              show: `ip link show ${link.name}`,
              remedy: `ip link set ${link.name} master ${attachment.bridge} up`,
            }
          : {
              at: "pod",
              text: `${who} has a link of its own, ${link.name}, and the route leads by ${output?.name}`,
              show: `ip route show dev ${link.name}`,
              remedy: withNames(addRoute(hostRoute(destination, link.index)).text, observed),
            },
      );
    const neighbour = observed.neighbours.find(
      ({ index, address }) => index === output?.index && isSameAddress(address, destination),
    );
    const mac =
      neighbour === undefined ? "its hardware address is asked for" : `its hardware address is ${neighbour.mac}`;
    this.#say({
      at: "neighbour",
      state: "goes",
      text: `${text} on ${output?.name}: ${mac}`,
      show: `ip neigh show ${text} dev ${output?.name}`,
    });
    this.#say({
      at: "pod",
      state: "arrives",
      text: `${who} gets it by ${link.name}${owner.namespace === undefined ? "" : ` (in ${owner.namespace})`}`,
      show: link.masterIndex === 0 ? `ip link show ${link.name}` : `bridge link show dev ${link.name}`,
    });
  }

  /** By a device of a backend's, which knows what becomes of the packet; else as it is. */
  #toOtherNode(route: ObservedRoute, output: Link | undefined): void {
    const inspection = output === undefined ? undefined : this.#inspectionOf(output);
    if (output === undefined || inspection === undefined) {
      this.#onLink(route, output);
      return;
    }
    const { observed, routeTo } = this.#knowledge;
    const { destination } = this.#question;
    const peer = this.#peerOf(destination);
    const { hops, isOver } = inspection.pass({
      device: output,
      to: route.gateway ?? destination,
      ...{ observed, routeTo },
      peer: peer && { name: peer.name, entries: this.#entriesOf(peer)?.entries ?? [] },
    });
    this.#hops.push(...hops);
    if (isOver) throw new End();
    this.#leaves(peer);
  }

  /** Of the backend whose device it is; else of one whose devices work as it does. */
  #inspectionOf(link: Link): DeviceInspection | undefined {
    const own = this.#knowledge.desired?.dataPath.devices.find(({ name }) => name === link.name);
    const inspections = BACKENDS.flatMap(({ inspection }) => inspection.devices ?? []);
    return backendNamed(own?.backend)?.inspection.devices ?? inspections.find((devices) => devices.leadsBy(link));
  }

  #onLink({ gateway }: ObservedRoute, output: Link | undefined): void {
    const { observed } = this.#knowledge;
    const to = gateway ?? this.#question.destination;
    const text = formatAddress(to);
    const neighbour = observed.neighbours.find(
      ({ index, address }) => index === output?.index && isSameAddress(address, to),
    );
    this.#say({
      at: "neighbour",
      state: "goes",
      text:
        neighbour === undefined
          ? `the hardware address of ${text} on ${output?.name} is not known yet, and asked for`
          : `${text} on ${output?.name} has the hardware address ${neighbour.mac}`,
      show: `ip neigh show ${text} dev ${output?.name}`,
    });
    this.#leaves(this.#peerOf(this.#question.destination));
  }

  #leaves(peer: Peer | undefined): void {
    const { destination } = this.#question;
    const there =
      peer === undefined
        ? ""
        : `: the rest of its way is ${peer.name}'s; there, weft explain ${formatAddress(destination)}`;
    this.#say({ at: "leaves", state: "arrives", text: `the packet leaves this node${there}` });
  }
}

/** Every reason of an Event about this node, with what an operator should know of it. */
import { PEER_TROUBLES, type PeerTrouble } from "../../pkg/backend/state.ts";

/** A peer's trouble, and the kernel's refusal of what it needs. */
type PeerEventReason = `Peer${PeerTrouble | "Refused"}`;

const OF_THE_NODE = {
  TakenOver: "this node was flannel's, and its network is weft's now; the message names the file that went out of use",
  ForeignConflist: "another network's file sorts before 05-weft.conflist, and the runtime takes the first",
  ConflistRefused:
    "no pod could start with the conflist that weftd would write; the message names file, plugin and key",
  NodeUnusable: "something that this Node says of itself cannot be read; the message names the field",
  RepairUndone: "another program undoes what weftd puts back, again and again; the message names the object",
  PodsOutsideSubnet:
    "the Node was registered anew with other podCIDRs, and other nodes do not reach pods of before; the message names them",
  ForwardingBlocked: "another program's chain may drop pods' packets, and weftd may not change it",
  ChecksumOffloadBroken: "packets in VXLAN arrive with wrong checksums, so the hardware's help was switched off",
  LocalhostNodePortTaken: "a NodePort is not served at ::1, since another program has the port; the message names both",
  KubeProxyRuns:
    "another process answers at kube-proxy's health port, so weftd programs no Services and removes nothing until it ends",
  KubeProxyBeside: "rules of kube-proxy's came back although weftd programs Services; the message names them",
  ServicesTakenOver: "kube-proxy has ended, and weftd programs this node's Services from now on",
  ProxyRulesLeft: "rules that kube-proxy has left cannot be removed from here; the message says what to run",
  ServiceConflict: "a Service asks for an address and port that another Service has; the message names both",
  FailedToStartServiceHealthcheck:
    "the health check port of a Service cannot be served; the message names Service, address and port",
  StrictReversePath: "rp_filter drops packets of peers that come by another way than the answers take",
} as const;

export type EventReason = keyof typeof OF_THE_NODE | PeerEventReason;

/** By reason; those about a peer name it in their message. */
export const EVENT_REASONS: Readonly<Record<EventReason, string>> = {
  ...OF_THE_NODE,
  ...(Object.fromEntries(
    Object.entries(PEER_TROUBLES).map(([trouble, meaning]) => [`Peer${trouble}`, meaning]),
  ) as Record<`Peer${PeerTrouble}`, string>),
  PeerRefused: "the kernel refused a route, a neighbour or a forwarding entry of the peer",
};

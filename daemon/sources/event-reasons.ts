/** The reasons of all Events about this node, with an explanation for operators. */
import { PEER_TROUBLES, type PeerTrouble } from "../../pkg/backend/state.ts";

/** A fault of a peer, or a refusal by the kernel that concerns a peer. */
type PeerEventReason = `Peer${PeerTrouble | "Refused"}`;

const OF_THE_NODE = {
  TakenOver: "weft has taken this node's network over from flannel; the message names the file that was disabled",
  ForeignConflist: "another network's file sorts before 05-weft.conflist, and the runtime uses the first file",
  ConflistRefused:
    "weftd does not write its conflist because no pod could start with it; the message names file, plugin and key",
  NodeUnusable: "a value in this node's Node object is invalid; the message names the field",
  RepairUndone: "another program keeps undoing weftd's repair; the message names the object",
  PodsOutsideSubnet:
    "the Node was registered again with other podCIDRs, and other nodes cannot reach the earlier pods; the message names them",
  ForwardingBlocked: "another program's chain may drop pods' packets, and weftd may not change it",
  ChecksumOffloadBroken: "packets in VXLAN arrive with wrong checksums, so weftd has switched checksum offload off",
  LocalhostNodePortTaken:
    "a NodePort is not served at ::1 because another program uses the port; the message names both",
  KubeProxyRuns:
    "another process listens at kube-proxy's health port; weftd programs no Services and removes nothing until it ends",
  KubeProxyBeside: "kube-proxy's rules reappeared although weftd programs Services; the message names them",
  ServicesTakenOver: "kube-proxy has ended, and weftd programs this node's Services",
  ProxyRulesLeft: "weftd cannot remove rules that kube-proxy has left; the message gives the command to run",
  ServiceConflict: "a Service claims an address and port of another Service; the message names both",
  FailedToStartServiceHealthcheck:
    "the health check port of a Service cannot be served; the message names Service, address and port",
  StrictReversePath: "rp_filter drops packets of peers that arrive on another interface than the one for replies",
} as const;

export type EventReason = keyof typeof OF_THE_NODE | PeerEventReason;

/** Explanations by reason. The message of an Event about a peer names the peer. */
export const EVENT_REASONS: Readonly<Record<EventReason, string>> = {
  ...OF_THE_NODE,
  ...(Object.fromEntries(
    Object.entries(PEER_TROUBLES).map(([trouble, meaning]) => [`Peer${trouble}`, meaning]),
  ) as Record<`Peer${PeerTrouble}`, string>),
  PeerRefused: "the kernel refused a route, a neighbour or a forwarding entry of the peer",
};

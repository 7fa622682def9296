/** `weft doctor`'s checks of VXLAN devices. */
import { formatAddress } from "../../ip/address.ts";
import type { VtepDevice } from "../../kernel/vtep-device.ts";
import type { BackendCheck, Finding } from "../inspection.ts";
import type { DesiredState } from "../state.ts";
import { vtepOf } from "./overlay.ts";

function vtepsOf(desired: DesiredState | undefined): readonly VtepDevice[] {
  return (desired?.dataPath.devices ?? []).filter(({ backend }) => backend === "vxlan").map(vtepOf);
}

const IPPROTO_UDP = 17;

const rival: BackendCheck = {
  name: "vxlan-rival",
  group: "data path",
  about: "no other program's VXLAN device has the VNI and port of this node's",
  judge({ desired, observed }) {
    const own = (desired?.dataPath.devices ?? []).map(({ name }) => name);
    return vtepsOf(desired).flatMap(({ name, vni, port, local }) =>
      observed.links
        .filter((link) => link.kind === "vxlan" && !own.includes(link.name))
        .filter(({ vxlan }) => vxlan?.vni === vni && vxlan.port === port)
        // Sockets are separate for each family. A device without an address uses both.
        .filter(({ vxlan }) => (local.family === 4 ? vxlan?.local6 : vxlan?.local) === undefined)
        .map(
          (link): Finding => ({
            severity: "error",
            seen: `another program's device ${link.name} has ${name}'s VNI ${vni} and UDP port ${port}`,
            why: `the kernel allows only one device with this VNI and port, so weftd cannot create ${name}`,
            run: `ip link del ${link.name}`,
            advice: "or give the cluster another VNI or Port in net-conf.json",
          }),
        ),
    );
  },
};

const input: BackendCheck = {
  name: "vxlan-input",
  group: "firewall",
  about: "the node's firewall accepts the peers' VXLAN packets",
  judge({ desired, peers, obstacleTo }) {
    return vtepsOf(desired).flatMap(({ local, port, vni }): Finding[] => {
      const sender = peers.flatMap(({ addresses }) => addresses).find(({ family }) => family === local.family);
      if (sender === undefined) return [];
      const packet = { source: sender, destination: local, protocol: IPPROTO_UDP, destinationPort: port, vni };
      const obstacle = obstacleTo(packet, `udp dport ${port}`);
      if (obstacle === undefined) return [];
      return [
        {
          severity: "error",
          seen: `VXLAN packets from ${formatAddress(sender)} to UDP port ${port} are dropped by ${obstacle.place}`,
          why: "pods on other nodes cannot reach pods on this node",
          ...obstacle.remedy,
        },
      ];
    });
  },
};

export const CHECKS: readonly BackendCheck[] = [rival, input];

/** Generates docs/configuration.md from the declarations that the code itself uses. */
import { optionsCommand } from "../../daemon/options.ts";
import type { NetConfKey } from "../../pkg/backend/contract.ts";
import { backendKeys, networkKeys } from "../../pkg/backend/net-conf-keys.ts";
import { ANNOTATION } from "../../pkg/cluster/node/annotations.ts";
import { code, table } from "./markdown.ts";

export function configurationText(): string {
  return `# Configuration

Generated from the code (\`npm run docs\`). This page lists weftd's flags, the keys of net-conf.json, and the annotations of a Node.
The keys of the plugins are in [executables.md](executables.md), the values of the chart in [its README](../conf/chart/README.md).

## weftd

A flag overrides its environment variable. \`weftd --help\` prints the same list, with examples.

${flags()}

## net-conf.json

This file defines the pod networks and the backend of the cluster, in flannel's format. Keys and the type of the backend match
without regard to case. If a network has host bits, weftd clears them and warns. weftd warns about unknown keys.

weftd watches the file. If a new version is invalid, weftd keeps the last valid one and reports the error in the log and in \`/readyz\`.

${keys(networkKeys())}

${code("Backend")}:

${keys(backendKeys())}

To change the backend, VNI or port of a cluster, change this file, node by node or on all nodes at once. Each node receives packets
by the old and the new method until no peer needs the old one.

## Annotations of a Node

weftd writes the same annotations as flanneld, so nodes of both kinds can share a cluster. An administrator may set the two annotations
that end in \`overwrite\`.

${annotations()}
`;
}

function flags(): string {
  const rows = optionsCommand().options.map((option) => {
    const { flags, envVar = "", description, defaultValue, defaultValueDescription, mandatory, argChoices } = option;
    const standard = defaultValueDescription ?? (defaultValue === undefined ? "" : code(String(defaultValue)));
    const choices = argChoices === undefined ? "" : `: ${argChoices.map(code).join(", ")}`;
    return [code(flags), code(envVar), mandatory ? "required" : standard, `${description}${choices}`];
  });
  return table(["flag", "environment", "default", "meaning"], rows);
}

function keys(known: readonly NetConfKey[]): string {
  const rows = known.map(({ name, values, standard, meaning, types, isIdle }) => [
    code(name),
    isIdle === true ? "" : values,
    standard === undefined ? "" : code(standard),
    `${meaning}${types === undefined ? "" : ` (${types.map(code).join(", ")})`}`,
  ]);
  return table(["key", "value", "default", "meaning"], rows);
}

function annotations(): string {
  const meanings: Readonly<Record<keyof typeof ANNOTATION, string>> = {
    subnetManager: 'always "true": the subnet is the podCIDR of the Node',
    backendType: "`vxlan` (also for `auto`) or `host-gw`: how peers send packets to this node",
    backendData: "VNI and hardware address of the node's VTEP over IPv4",
    backendV6Data: "VNI and hardware address of the node's VTEP over IPv6",
    publicIp:
      "the IPv4 address at which peers reach the node; peers refuse it if the Node's addresses do not contain it",
    publicIpv6: "the IPv6 address at which peers reach the node, under the same condition",
    vxlanPort: "UDP port of the node's VTEPs",
    networkPolicy: "`enforce` or `audit`: how the node treats NetworkPolicies; new nodes without the flag do the same",
    publicIpOverwrite: "set by an administrator: the IPv4 address that weftd announces instead of the one it finds",
    publicIpv6Overwrite: "set by an administrator: the same for IPv6",
  };
  const rows = Object.entries(ANNOTATION).map(([name, key]) => [code(key), meanings[name as keyof typeof ANNOTATION]]);
  return table(["annotation", "meaning"], rows);
}

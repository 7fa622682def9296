/** docs/configuration.md, made of what the code itself goes by. */
import { optionsCommand } from "../../daemon/options.ts";
import type { NetConfKey } from "../../pkg/backend/contract.ts";
import { backendKeys, networkKeys } from "../../pkg/backend/net-conf-keys.ts";
import { ANNOTATION } from "../../pkg/cluster/node/annotations.ts";
import { code, table } from "./markdown.ts";

export function configurationText(): string {
  return `# Configuration

Made from the code (\`npm run docs\`). The executables' keys are in [executables.md](executables.md), the chart's values in
[its README](../conf/chart/README.md).

## weftd

A flag beats its environment variable. \`weftd --help\` says the same, with examples.

${flags()}

## net-conf.json

The cluster's networks and its backend, in flannel's form; keys and the backend's type are matched without regard to case, host
bits of a network are cleared with a warning. weftd follows the file: what is wrong with a new version stands in the log and in
\`/readyz\`, and the last good one stays. An unknown key is named in a warning.

${keys(networkKeys())}

${code("Backend")}:

${keys(backendKeys())}

A cluster's backend, VNI or port is changed by changing this file, node by node or everywhere at once: each node receives both
ways until nobody needs the old one.

## Annotations of a Node

weftd writes what flanneld writes, so that nodes of both kinds share a cluster. An administrator may set the two that end in
\`overwrite\`.

${annotations()}
`;
}

function flags(): string {
  const rows = optionsCommand().options.map((option) => {
    const { flags, envVar = "", description, defaultValue, defaultValueDescription, mandatory, argChoices } = option;
    const standard = defaultValueDescription ?? (defaultValue === undefined ? "" : code(String(defaultValue)));
    const choices = argChoices === undefined ? "" : `: ${argChoices.map(code).join(", ")}`;
    return [code(flags), code(envVar), mandatory ? "must be given" : standard, `${description}${choices}`];
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
    subnetManager: 'always "true": the subnet is the Node\'s own podCIDR',
    backendType: "`vxlan` (also for `auto`) or `host-gw`: how this node is to be sent to",
    backendData: "VNI and hardware address of its VTEP over IPv4",
    backendV6Data: "the same over IPv6",
    publicIp:
      "the IPv4 address that peers reach it by; one that its Node's addresses do not have is refused by the others",
    publicIpv6: "the same for IPv6",
    vxlanPort: "UDP port of its VTEPs",
    publicIpOverwrite: "set by you: the address to announce instead of the one found",
    publicIpv6Overwrite: "the same for IPv6",
  };
  const rows = Object.entries(ANNOTATION).map(([name, key]) => [code(key), meanings[name as keyof typeof ANNOTATION]]);
  return table(["annotation", "meaning"], rows);
}

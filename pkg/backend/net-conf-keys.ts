/**
 * The keys of net-conf.json and their documentation for operators. These are functions because the executables are
 * built without them.
 */
import { BACKENDS, DEFAULT_WORD, wordsText } from "./backends.ts";
import type { NetConfKey } from "./contract.ts";

const idle = (name: string): NetConfKey => ({ name, values: "any", meaning: "has no effect", isIdle: true });

export function networkKeys(): readonly NetConfKey[] {
  return [
    {
      name: "Network",
      values: "an IPv4 network",
      meaning:
        "the network of all IPv4 pods, as in the cluster's `--cluster-cidr`; required unless `EnableIPv4` is false",
    },
    { name: "EnableIPv4", values: "a boolean", standard: "true", meaning: "pods have IPv4 addresses" },
    {
      name: "IPv6Network",
      values: "an IPv6 network",
      meaning: "the network of all IPv6 pods; required if `EnableIPv6` is true",
    },
    { name: "EnableIPv6", values: "a boolean", standard: "false", meaning: "pods have IPv6 addresses" },
    {
      name: "Backend",
      values: "an object",
      standard: "{}",
      meaning: "how nodes send packets to each other: see below",
    },
    ...["SubnetLen", "SubnetMin", "SubnetMax", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax", "EnableNFTables"].map(
      idle,
    ),
  ];
}

export function backendKeys(): readonly NetConfKey[] {
  const words = BACKENDS.flatMap(({ manual }) => Object.entries(manual.words));
  return [
    {
      name: "Type",
      values: wordsText(),
      standard: JSON.stringify(DEFAULT_WORD),
      meaning: words.map(([word, meaning]) => `\`${word}\`: ${meaning}`).join("; "),
    },
    ...BACKENDS.flatMap(({ manual }) => manual.keys),
  ];
}

/** Checks of what the container runtime uses: network configurations, plugins, and free space for both. */
import type { Finding } from "../../../pkg/backend/inspection.ts";
import { CONFLIST_NAME } from "../../../pkg/footprint.ts";
import { formatPrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";

export const conflistFirst: Check = {
  name: "conflist-first",
  group: "runtime",
  about: "weft's network configuration exists and sorts first, so the runtime uses it",
  judge({ networks, own, run, hasWeftd }) {
    if (!hasWeftd) return [];
    const { path, files } = networks;
    if (own === undefined) {
      return [
        {
          severity: "error",
          seen: `${path}/${CONFLIST_NAME} is missing`,
          why: "the runtime cannot start pods, or attaches them to another network",
          advice: run.isAlive
            ? "weftd writes the file once it is ready; see its log"
            : "start weftd, which writes the file",
        },
      ];
    }
    return files
      .filter(({ name }) => name < own.name)
      .map(({ name }) => ({
        severity: "error",
        seen: `${name} in ${path} sorts before ${own.name}`,
        why: "the runtime uses the first file, so new pods are attached to that network instead of weft's",
        run: `mv ${path}/${name} ${path}/${name}.disabled`,
      }));
  },
};

export const conflistValid: Check = {
  name: "conflist-valid",
  group: "runtime",
  about: "network configurations are valid",
  judge({ networks, own }) {
    return networks.files.flatMap(({ name, problem }): Finding[] => {
      if (problem === undefined) return [];
      const file = `${networks.path}/${name}`;
      const isOwn = name === own?.name;
      return [
        {
          severity: isOwn ? "error" : "warning",
          seen: `${file}: ${problem}`,
          why: isOwn ? "the runtime cannot start pods" : "some runtimes then load none of the files",
          ...(isOwn
            ? { run: `rm ${file}`, advice: "a running weftd writes the file again within a minute" }
            : { run: `mv ${file} ${file}.disabled` }),
        },
      ];
    });
  },
};

export const conflistAccepted: Check = {
  name: "conflist-accepted",
  group: "runtime",
  about: "weft's plugins accept the network configurations",
  judge({ networks, complaints }) {
    const [first] = networks.files.filter(({ problem }) => problem === undefined);
    return complaints.map(({ file, text }) => ({
      severity: file === first?.name ? "error" : "warning",
      seen: `${networks.path}/${file}: ${text}`,
      why: "every start of a pod with this configuration fails",
      advice:
        file === CONFLIST_NAME
          ? "correct flannel's file from which weftd generated it (*.weft-disabled); if there is none, restart weftd"
          : "correct the file",
    }));
  },
};

export const conflistSubnets: Check = {
  name: "conflist-subnets",
  group: "runtime",
  about: "pods get addresses from this node's subnets (its Node's podCIDRs)",
  judge({ own, attachment, table }) {
    if (own?.problem !== undefined || own === undefined || table === undefined || attachment.subnets.length === 0)
      return [];
    const wanted = table.node.subnets.map(formatPrefix);
    const given = attachment.subnets.map((text) => {
      try {
        return formatPrefix(parseSubnet(text));
      } catch {
        return text;
      }
    });
    if (wanted.every((subnet) => given.includes(subnet)) && given.every((subnet) => wanted.includes(subnet))) return [];
    return [
      {
        severity: "error",
        seen: `${own.name} gives pods addresses from ${given.join(", ")}, but this node's subnets are ${wanted.join(", ")}`,
        why: "other nodes do not send packets for such pods to this node",
        advice: "restart weftd, which rewrites the file; then restart the pods with addresses outside the subnets",
      },
    ];
  },
};

export const plugins: Check = {
  name: "plugins",
  group: "runtime",
  about: "every plugin of weft's network is installed, and is of this build",
  judge({ own, plugins: { directory, files }, command }) {
    const types = [...new Set((own?.plugins ?? []).flatMap(typesOf))];
    const run = `${command} install ${directory}`;
    const absent = types.filter((type) => !files.has(type));
    const other = types.filter((type) => files.get(type) === "other");
    return [
      ...(absent.length === 0
        ? []
        : [
            {
              severity: "error" as const,
              seen: `plugins are missing in ${directory}: ${absent.join(", ")}`,
              why: `${own?.name} needs them; no pod can start`,
              run,
            },
          ]),
      ...(other.length === 0
        ? []
        : [
            {
              severity: "warning" as const,
              seen: `plugins in ${directory} are not of this build: ${other.join(", ")}`,
              why: "another version of weft, or another program, attaches pods",
              run,
            },
          ]),
    ];
  },
};

function typesOf(plugin: NonNullable<Facts["own"]>["plugins"][number]): string[] {
  const ipam = plugin.object("ipam").value("type");
  return [plugin.requiredString("type"), ...(typeof ipam === "string" ? [ipam] : [])];
}

/** The used part of a file system from which on the check reports it. */
const FULL = 0.97;

export const room: Check = {
  name: "room",
  group: "runtime",
  about: "there is free space for reservations and for weftd's files",
  judge({ rooms }) {
    return rooms.flatMap(({ path, room: { bytes, freeBytes, inodes, freeInodes } }): Finding[] => {
      const isOutOf = (all: number, free: number) => all > 0 && free <= all * (1 - FULL);
      const what = isOutOf(bytes, freeBytes) ? "bytes" : isOutOf(inodes, freeInodes) ? "inodes" : undefined;
      if (what === undefined) return [];
      const [all, free] = what === "bytes" ? [bytes, freeBytes] : [inodes, freeInodes];
      return [
        {
          severity: free === 0 ? "error" : "warning",
          seen: `the file system of ${path} has ${free} of ${all} ${what} left`,
          why: "once it is full, no address can be reserved, and no pod can start",
          advice: `free some space; to find large directories: du -x${what === "inodes" ? " --inodes" : ""} ${path} | sort -n | tail`,
        },
      ];
    });
  },
};

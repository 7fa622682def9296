/** What the container runtime finds: network configurations, plugins, and room for both. */
import type { Finding } from "../../../pkg/backend/inspection.ts";
import { CONFLIST_NAME } from "../../../pkg/footprint.ts";
import { formatPrefix, parseSubnet } from "../../../pkg/ip/prefix.ts";
import type { Facts } from "../facts.ts";
import type { Check } from "../finding.ts";

export const conflistFirst: Check = {
  name: "conflist-first",
  group: "runtime",
  about: "weft's network configuration is there, and the first one: the runtime takes it",
  judge({ networks, own, run, hasWeftd }) {
    if (!hasWeftd) return [];
    const { path, files } = networks;
    if (own === undefined) {
      return [
        {
          severity: "error",
          seen: `${path}/${CONFLIST_NAME} is missing`,
          why: "the runtime starts no pods, or attaches them to another network",
          advice: run.isAlive ? "weftd writes it when it is ready: read its log" : "start weftd, which writes it",
        },
      ];
    }
    return files
      .filter(({ name }) => name < own.name)
      .map(({ name }) => ({
        severity: "error",
        seen: `${name} in ${path} sorts before ${own.name}`,
        why: "the runtime takes the first: new pods get that network, and not weft's",
        run: `mv ${path}/${name} ${path}/${name}.disabled`,
      }));
  },
};

export const conflistValid: Check = {
  name: "conflist-valid",
  group: "runtime",
  about: "network configurations can be read",
  judge({ networks, own }) {
    return networks.files.flatMap(({ name, problem }): Finding[] => {
      if (problem === undefined) return [];
      const file = `${networks.path}/${name}`;
      const isOwn = name === own?.name;
      return [
        {
          severity: isOwn ? "error" : "warning",
          seen: `${file}: ${problem}`,
          why: isOwn ? "the runtime starts no pods" : "some runtimes load none of the files then",
          ...(isOwn
            ? { run: `rm ${file}`, advice: "a weftd that lives writes it anew within a minute" }
            : { run: `mv ${file} ${file}.disabled` }),
        },
      ];
    });
  },
};

export const conflistAccepted: Check = {
  name: "conflist-accepted",
  group: "runtime",
  about: "weft's plugins take what the network configurations say",
  judge({ networks, complaints }) {
    const [first] = networks.files.filter(({ problem }) => problem === undefined);
    return complaints.map(({ file, text }) => ({
      severity: file === first?.name ? "error" : "warning",
      seen: `${networks.path}/${file}: ${text}`,
      why: "every start of a pod by this configuration fails",
      advice:
        file === CONFLIST_NAME
          ? "correct flannel's file from which weftd made it (*.weft-disabled); where there is none, restart weftd"
          : "correct it there",
    }));
  },
};

export const conflistSubnets: Check = {
  name: "conflist-subnets",
  group: "runtime",
  about: "pods get addresses of this node's own subnets (its Node's podCIDRs)",
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
        seen: `${own.name} gives pods addresses of ${given.join(", ")}, and this node's subnets are ${wanted.join(", ")}`,
        why: "other nodes send packets for such pods elsewhere",
        advice: "restart weftd, which writes the file anew; then start the pods anew that have foreign addresses",
      },
    ];
  },
};

export const plugins: Check = {
  name: "plugins",
  group: "runtime",
  about: "every plugin that weft's network names is there, of this build",
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
              seen: `${directory} has no ${absent.join(", ")}`,
              why: `${own?.name} names them: no pod can be started`,
              run,
            },
          ]),
      ...(other.length === 0
        ? []
        : [
            {
              severity: "warning" as const,
              seen: `${other.join(", ")} in ${directory} are not of this build`,
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

/** Of a file system so much may be used. */
const FULL = 0.97;

export const room: Check = {
  name: "room",
  group: "runtime",
  about: "there is room for reservations and for weftd's files",
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
          why: "no address can be reserved once it is full, and no pod started",
          advice: `make room: du -x${what === "inodes" ? " --inodes" : ""} ${path} | sort -n | tail`,
        },
      ];
    });
  },
};

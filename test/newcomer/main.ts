/**
 * `npm run test:newcomer`: runs the README's commands, in order, on a Debian 12 and a Debian 13 just made by
 * debootstrap, as root in a chroot with private mounts and processes. Clones the committed state; uses nothing else of
 * this tree. Such a root gets from this machine only the settings to reach the package archives: apt's and npm's
 * settings, names and certificates.
 */
import { execFileSync, spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { Argument, Command } from "commander";
import { ROOT } from "../../hack/compile/paths.ts";
import { type Block, commandsOf } from "./commands.ts";

const SUITES = { "12": "bookworm", "13": "trixie" } as const;
type Debian = keyof typeof SUITES;
const CACHE = `${ROOT}/.cache/newcomer`;
const HERE = import.meta.dirname;

/** Output that the commands must print, in addition to their success. */
const EVIDENCE = [
  ["the demo's pods all reach each other by VXLAN", /^demo vxlan\b.*\b30\/30\b/m],
  ["the demo's pods all reach each other by host-gw", /^demo host-gw\b.*\b30\/30\b/m],
  ["the unit tests pass", /^[1-9]\d* passed, 0 failed$/m],
  ["the plugin assigns an address", /"address": "10\.22\.0\.\d+\/24"/],
  ["the pod reaches its gateway", / 0% packet loss/],
] as const;

const command = new Command("npm run test:newcomer --")
  .description("Runs the README's commands on fresh Debian roots.")
  .addArgument(
    new Argument("[debian...]", "versions to test").choices(Object.keys(SUITES)).default(Object.keys(SUITES)),
  )
  .option("--keep", "keep the roots below .cache/newcomer for inspection")
  .parse();
const { keep = false } = command.opts<{ keep?: boolean }>();
const blocks = commandsOf(readFileSync(`${ROOT}/README.md`, "utf8"));
mkdirSync(CACHE, { recursive: true });
const failures: string[] = [];
for (const debian of command.processedArgs[0] as Debian[]) {
  const folder = mkdtempSync(`${CACHE}/${SUITES[debian]}-`);
  try {
    makeRoot(debian, folder);
    failures.push(...(await visit(debian, folder)));
  } finally {
    if (!keep) rmSync(folder, { recursive: true, force: true });
  }
}
for (const failure of failures) console.error(`newcomer: FAILED: ${failure}`);
if (failures.length === 0) console.log(`newcomer: ${blocks.length} blocks of README.md work`);
process.exitCode = failures.length === 0 ? 0 : 1;

/** Unpacks debootstrap's root, from an earlier run's archive if there is one. */
function makeRoot(debian: Debian, folder: string): void {
  const kept = `${CACHE}/${SUITES[debian]}.tar`;
  console.log(`newcomer: Debian ${debian}: ${existsSync(kept) ? "unpacking" : "making"} a root file system ...`);
  execFileSync("sh", [`${HERE}/root.sh`, SUITES[debian], kept, folder], { stdio: ["ignore", "inherit", "inherit"] });
  copySettings(folder);
}

function copySettings(folder: string): void {
  const npmrc = `${homedir()}/.npmrc`;
  for (const path of ["/etc/resolv.conf", "/etc/hosts", "/usr/local/share/ca-certificates", npmrc])
    if (existsSync(path))
      cpSync(path, `${folder}${path === npmrc ? "/root/.npmrc" : path}`, { recursive: true, dereference: true });
  const certificates = process.env.NODE_EXTRA_CA_CERTS;
  if (certificates !== undefined && existsSync(certificates)) cpSync(certificates, `${folder}/root/certificates.pem`);
}

/** The environment of root's login shell, and this machine's proxy settings. */
function environmentOf(folder: string): Record<string, string> {
  const passed = Object.entries(process.env).filter(([name]) =>
    /^(https?_proxy|no_proxy|npm_config_registry)$/i.test(name),
  );
  return {
    ...(Object.fromEntries(passed) as Record<string, string>),
    ...(existsSync(`${folder}/root/certificates.pem`) ? { NODE_EXTRA_CA_CERTS: "/root/certificates.pem" } : {}),
    HOME: "/root",
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    // A value that the README asks the reader to fill in.
    URL: "file:///mnt/weft.git",
  };
}

/** Runs all blocks. Returns the failures. */
async function visit(debian: Debian, folder: string): Promise<string[]> {
  let said = "";
  // Each shell starts in the folder in which the previous one ended.
  writeFileSync(`${folder}/root/.newcomer-folder`, "/root");
  for (const block of blocks) {
    const started = Date.now();
    const { status, output } = await runBlock(block, folder);
    said += output;
    const outcome = `${status === 0 ? "done" : `ended with ${status}`} in ${Math.round((Date.now() - started) / 1000)} s`;
    console.log(`newcomer: Debian ${debian}: ${outcome}:\n${block.script.replaceAll(/^/gm, "    ").trimEnd()}`);
    if (status !== 0) return [`Debian ${debian}: the README's commands end with ${status}:\n${block.script}`];
  }
  return EVIDENCE.filter(([, pattern]) => !pattern.test(said)).map(
    ([what, pattern]) => `Debian ${debian}: ${what}: no output matches ${pattern}`,
  );
}

function runBlock({ place, script }: Block, folder: string): Promise<{ status: number | null; output: string }> {
  const network = place === "newcomer-node" ? ["--net"] : [];
  const child = spawn(
    "unshare",
    [
      ...["--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", ...network],
      ...["sh", `${HERE}/enter.sh`, folder, `${ROOT}/.git`, script],
    ],
    { stdio: ["ignore", "pipe", "pipe"], env: environmentOf(folder) },
  );
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      process.stdout.write(text);
    });
  return new Promise((resolve, reject) => {
    child.on("error", reject).on("close", (status) => resolve({ status, output }));
  });
}

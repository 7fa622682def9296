/** `npm run release`, after the builds: writes tarballs, bills of materials and checksums to dist/release. */
import { createHash } from "node:crypto";
import { cpSync, linkSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { DIST, ROOT, WORK } from "../compile/paths.ts";
import { output } from "../compile/run.ts";
import { TARGETS, type Target } from "../compile/target.ts";
import { ingredientsOf } from "./ingredients.ts";
import { formatNotices } from "./notices.ts";
import { makeSbom } from "./sbom.ts";
import { packTarball } from "./tarball.ts";

const OUT = `${DIST}/release`;
const PAPERS = ["LICENSE", "README.md", "CHANGELOG.md"];
const { version } = JSON.parse(readFileSync(`${ROOT}/package.json`, "utf8")) as { version: string };
const [commit = "", committedAt = ""] = output(["git", "-C", ROOT, "log", "-1", "--format=%H %ct"]).trim().split(" ");

rmSync(OUT, { recursive: true, force: true });
mkdirSync(OUT, { recursive: true });
for (const target of TARGETS) await release(target);
const names = readdirSync(OUT).sort();
const sums = names.map(
  (name) =>
    `${createHash("sha256")
      .update(readFileSync(`${OUT}/${name}`))
      .digest("hex")}  ${name}\n`,
);
writeFileSync(`${OUT}/SHA256SUMS`, sums.join(""));
process.stdout.write(sums.join(""));

async function release(target: Target): Promise<void> {
  const { arch, dist } = target;
  const name = `weft-${version}-linux-${arch}`;
  const ingredients = ingredientsOf(target);
  const folder = `${WORK}/${name}`;
  rmSync(folder, { recursive: true, force: true });
  copyFiles(dist, folder);
  for (const paper of PAPERS) cpSync(`${ROOT}/${paper}`, `${folder}/${paper}`);
  writeFileSync(`${folder}/THIRD-PARTY-LICENSES`, formatNotices(ingredients));
  await packTarball(folder, `${OUT}/${name}.tgz`, Number(committedAt));
  rmSync(folder, { recursive: true });
  const sbom = makeSbom({ version, commit, committedAt: Number(committedAt), arch }, ingredients);
  writeFileSync(`${OUT}/${name}.cdx.json`, sbom);
}

/** Copies bin and lib. The plugins are hard links in the copy, too. Node.js is the machine's own. */
function copyFiles(dist: string, folder: string): void {
  mkdirSync(`${folder}/bin`, { recursive: true });
  mkdirSync(`${folder}/lib`);
  cpSync(`${dist}/bin/weft`, `${folder}/bin/weft`);
  for (const name of readdirSync(`${dist}/bin`)) {
    if (name === "weftd") cpSync(`${dist}/bin/weftd`, `${folder}/bin/weftd`);
    else if (name !== "weft") linkSync(`${folder}/bin/weft`, `${folder}/bin/${name}`);
  }
  for (const name of ["weftd.cjs", "netlink.node"]) cpSync(`${dist}/lib/${name}`, `${folder}/lib/${name}`);
}

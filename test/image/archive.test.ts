/** The image's archive: read as a container engine reads it, and identical bytes for identical content. */
import { createHash } from "node:crypto";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type ImageSource, writeArchive } from "../../hack/imaging/archive.ts";
import { succeed } from "../live/harness/command.ts";

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "weft-archive-"));
});

afterAll(() => rmSync(folder, { recursive: true }));

/** A layer made at a given time, with its files in the given order. */
function makeLayer(name: string, files: readonly string[], time: number): string {
  const layer = `${folder}/${name}`;
  mkdirSync(`${layer}/usr/bin`, { recursive: true });
  for (const file of files) writeFileSync(`${layer}/usr/bin/${file}`, file, { mode: 0o555 });
  symlinkSync("usr/bin", `${layer}/bin`);
  for (const path of [...files.map((file) => `usr/bin/${file}`), "usr/bin", "usr"])
    utimesSync(`${layer}/${path}`, time, time);
  return layer;
}

const sourceOf = (...layers: string[]): ImageSource => ({
  ...{ layers, arch: "amd64", reference: "weft:dev", created: 1_700_000_000 },
  entrypoint: ["/opt/weft/bin/node", "/opt/weft/lib/weftd.cjs"],
  labels: { "org.opencontainers.image.title": "weft" },
});

const digestOf = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
type Json = Record<string, never>;

test("identical content, made at another time, gives identical bytes", () => {
  const [first, second] = ["a.tar", "b.tar"].map((name) => `${folder}/${name}`) as [string, string];
  const digest = writeArchive(sourceOf(makeLayer("a", ["x", "y"], 1)), first);
  expect(writeArchive(sourceOf(makeLayer("b", ["y", "x"], 2)), second)).toBe(digest);
  expect(digestOf(readFileSync(first))).toBe(digestOf(readFileSync(second)));
  const other = writeArchive({ ...sourceOf(`${folder}/a`), created: 1_700_000_001 }, `${folder}/c.tar`);
  expect(other).not.toBe(digest);
});

test("an engine finds everything that each index and manifest names, with its digest and size", async () => {
  const archive = `${folder}/d.tar`;
  writeArchive(sourceOf(makeLayer("lower", ["node"], 1), makeLayer("upper", ["weft"], 1)), archive);
  const layout = `${folder}/layout`;
  mkdirSync(layout);
  await succeed("tar", ["-xf", archive, "-C", layout]);
  const read = (path: string) => JSON.parse(readFileSync(`${layout}/${path}`, "utf8"));
  const blob = ({ digest, size }: { digest: string; size: number }): Buffer => {
    const [, hex = ""] = digest.split(":");
    const bytes = readFileSync(`${layout}/blobs/sha256/${hex}`);
    expect([digestOf(bytes), bytes.length]).toEqual([hex, size]);
    return bytes;
  };
  expect(read("oci-layout")).toEqual({ imageLayoutVersion: "1.0.0" });
  const { manifests } = read("index.json");
  expect(manifests).toMatchObject([
    {
      annotations: {
        "org.opencontainers.image.ref.name": "dev",
        "io.containerd.image.name": "docker.io/library/weft:dev",
      },
    },
  ]);
  const manifest = JSON.parse(blob(manifests[0]).toString()) as {
    config: never;
    layers: { digest: string; size: number }[];
  };
  const config = JSON.parse(blob(manifest.config).toString()) as Json;
  expect(config).toMatchObject({
    ...{ os: "linux", architecture: "amd64", created: "2023-11-14T22:13:20Z" },
    config: { User: "0:0", Entrypoint: ["/opt/weft/bin/node", "/opt/weft/lib/weftd.cjs"] },
    rootfs: { type: "layers", diff_ids: manifest.layers.map((layer) => `sha256:${digestOf(gunzipSync(blob(layer)))}`) },
  });
  expect(read("manifest.json")).toEqual([
    {
      Config: `blobs/sha256/${digestOf(blob(manifest.config))}`,
      RepoTags: ["weft:dev"],
      Layers: manifest.layers.map(({ digest }) => `blobs/sha256/${digest.slice("sha256:".length)}`),
    },
  ]);
});

test("a name with a registry's port keeps its tag", async () => {
  const archive = `${folder}/f.tar`;
  writeArchive({ ...sourceOf(`${folder}/a`), reference: "registry.example:5000/weft:0.1.0" }, archive);
  const { manifests } = JSON.parse(await succeed("tar", ["-xOf", archive, "./index.json"])) as { manifests: object[] };
  expect(manifests).toMatchObject([
    {
      annotations: {
        "org.opencontainers.image.ref.name": "0.1.0",
        "io.containerd.image.name": "registry.example:5000/weft:0.1.0",
      },
    },
  ]);
});

test("files in a layer belong to root, and have the image's time and their own permissions", async () => {
  const archive = `${folder}/e.tar`;
  const layer = makeLayer("e", ["weft"], 1);
  writeArchive(sourceOf(layer), archive);
  const [{ Layers: layers }] = JSON.parse(await succeed("tar", ["-xOf", archive, "./manifest.json"])) as [
    { Layers: string[] },
  ];
  const made = `${folder}/made`;
  mkdirSync(made);
  await succeed("sh", ["-c", `tar -xOf "$0" "./$1" | tar -xz -C "$2"`, archive, layers[0] ?? "", made]);
  const { mode, mtimeMs, uid, gid } = statSync(`${made}/usr/bin/weft`);
  expect([mode & 0o7777, mtimeMs, uid, gid]).toEqual([0o555, 1_700_000_000_000, 0, 0]);
  const names = (await succeed("sh", ["-c", `tar -xOf "$0" "./$1" | tar -tz`, archive, layers[0] ?? ""]))
    .trim()
    .split("\n");
  expect(names).toEqual(["./", "./bin", "./usr/", "./usr/bin/", "./usr/bin/weft"]);
});

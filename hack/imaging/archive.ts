/**
 * Writes a container image as one tar: an OCI image layout (image-spec 1.1), and the manifest.json that every version
 * of `docker load` reads. The same content gives the same bytes.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { gzipSync } from "node:zlib";
import { run } from "../compile/run.ts";

export interface ImageSource {
  /** Folders of the layers, the lowest first. */
  readonly layers: readonly string[];
  readonly arch: string;
  readonly entrypoint: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** "weft:dev" */
  readonly reference: string;
  /** The time of every file and of the image, in seconds since the epoch. */
  readonly created: number;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

const MEDIA = "application/vnd.oci.image";

/** Writes the archive `path`. Returns the digest of the image's manifest. */
export function writeArchive(source: ImageSource, path: string): string {
  const work = `${path}.parts`;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(`${work}/blobs/sha256`, { recursive: true });
  const blob = (mediaType: string, bytes: Uint8Array): Descriptor => {
    const digest = createHash("sha256").update(bytes).digest("hex");
    writeFileSync(`${work}/blobs/sha256/${digest}`, bytes);
    return { mediaType, digest: `sha256:${digest}`, size: bytes.length };
  };
  const layers = source.layers.map((folder) => {
    const tar = packed(folder, `${work}/layer`, source.created);
    const diffId = `sha256:${createHash("sha256").update(tar).digest("hex")}`;
    return { diffId, descriptor: blob(`${MEDIA}.layer.v1.tar+gzip`, gzipSync(tar, { level: 9 })) };
  });
  const config = blob(
    `${MEDIA}.config.v1+json`,
    json(
      configOf(
        source,
        layers.map(({ diffId }) => diffId),
      ),
    ),
  );
  const manifest = blob(
    `${MEDIA}.manifest.v1+json`,
    json({
      ...{ schemaVersion: 2, mediaType: `${MEDIA}.manifest.v1+json`, config },
      layers: layers.map(({ descriptor }) => descriptor),
      annotations: source.labels,
    }),
  );
  // A registry's port follows a colon, too.
  const [, tag = "latest"] = /:([^:/]+)$/.exec(source.reference) ?? [];
  const annotations = {
    "org.opencontainers.image.ref.name": tag,
    "io.containerd.image.name": source.reference.includes("/")
      ? source.reference
      : `docker.io/library/${source.reference}`,
  };
  writeFileSync(`${work}/oci-layout`, json({ imageLayoutVersion: "1.0.0" }));
  writeFileSync(`${work}/index.json`, json({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }));
  const pathOf = ({ digest }: Descriptor) => `blobs/${digest.replace(":", "/")}`;
  writeFileSync(
    `${work}/manifest.json`,
    json([
      {
        Config: pathOf(config),
        RepoTags: [source.reference],
        Layers: layers.map(({ descriptor }) => pathOf(descriptor)),
      },
    ]),
  );
  writeFileSync(`${path}.new`, packed(work, `${path}.tar`, source.created));
  renameSync(`${path}.new`, path);
  rmSync(work, { recursive: true });
  return manifest.digest;
}

function configOf({ arch, entrypoint, labels, created }: ImageSource, diffIds: readonly string[]) {
  const time = new Date(created * 1000).toISOString().replace(".000", "");
  return {
    ...{ created: time, architecture: arch, os: "linux" },
    config: {
      ...{ User: "0:0", Entrypoint: entrypoint, WorkingDir: "/", Labels: labels },
      Env: ["PATH=/opt/weft/bin:/usr/sbin:/usr/bin"],
    },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: diffIds.map(() => ({ created: time, created_by: "hack/image" })),
  };
}

/** Returns the folder's content as a tar that is the same for the same content. Uses the file `temporary`. */
function packed(folder: string, temporary: string, created: number): Uint8Array {
  mkdirSync(dirname(temporary), { recursive: true });
  run([
    ...["tar", "--create", "--file", temporary, "--directory", folder, "--format=ustar", "--sort=name"],
    ...[
      `--mtime=@${created}`,
      "--owner=0",
      "--group=0",
      "--numeric-owner",
      `--exclude=./${temporary.replace(/.*\//, "")}`,
    ],
    ".",
  ]);
  const bytes = readFileSync(temporary);
  rmSync(temporary);
  return bytes;
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** The image and the manifests agree. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ENTRYPOINT, MOUNT_POINTS } from "../../hack/imaging/root.ts";
import { containerOf, podOf } from "../manifests/pod.ts";
import { CONF, kustomizeObjects } from "../manifests/tools.ts";

const pod = podOf(kustomizeObjects("overlays/flannel-migration"));
const containers = [...pod.initContainers, ...pod.containers];

test("the image has every folder on which the manifests mount something", () => {
  const points = [...MOUNT_POINTS, "run/xtables.lock"].map((path) => `/${path}`);
  const mounted = containers.flatMap(({ volumeMounts }) => volumeMounts.map(({ mountPath }) => mountPath));
  expect(
    mounted.map((path) => path.replace(/^\/var\/run\//, "/run/")).filter((path) => !points.includes(path)),
  ).toEqual([]);
});

test("the images of the archive and the Containerfile start as the manifests say", () => {
  const text = readFileSync(`${CONF}/../Containerfile`, "utf8");
  const { command } = containerOf(pod, "weftd");
  expect(ENTRYPOINT).toEqual(command);
  expect(JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? "null")).toEqual(command);
});

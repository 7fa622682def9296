/** What the image and the manifests say of each other. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { ENTRYPOINT, MOUNT_POINTS } from "../../hack/imaging/root.ts";
import { containerOf, podOf } from "../manifests/pod.ts";
import { CONF, kustomizeObjects } from "../manifests/tools.ts";

const pod = podOf(kustomizeObjects("overlays/flannel-migration"));
const containers = [...pod.initContainers, ...pod.containers];

test("the image has every folder that the manifests mount something on", () => {
  const points = [...MOUNT_POINTS, "run/xtables.lock"].map((path) => `/${path}`);
  const mounted = containers.flatMap(({ volumeMounts }) => volumeMounts.map(({ mountPath }) => mountPath));
  expect(
    mounted.map((path) => path.replace(/^\/var\/run\//, "/run/")).filter((path) => !points.includes(path)),
  ).toEqual([]);
});

test("the archive's image and the Containerfile's start as the manifests say", () => {
  const text = readFileSync(`${CONF}/../Containerfile`, "utf8");
  const { command } = containerOf(pod, "weftd");
  expect(ENTRYPOINT).toEqual(command);
  expect(JSON.parse(/^ENTRYPOINT (.*)$/m.exec(text)?.[1] ?? "null")).toEqual(command);
});

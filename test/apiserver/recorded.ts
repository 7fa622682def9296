/** Objects from the recordings of a real kube-apiserver (test/vectors/kube-api). */
import { readFileSync } from "node:fs";
import type { KubeObject } from "../../pkg/cluster/resource.ts";

const FOLDER = new URL("../vectors/kube-api/", import.meta.url);

/** Empty lines separate the request from the answer's head and body. */
function bodyOf(name: string): string {
  return readFileSync(new URL(name, FOLDER), "utf8").split("\n\n").slice(2).join("\n\n");
}

/** The objects of a list. */
export function recordedItems(name: string): KubeObject[] {
  return (JSON.parse(bodyOf(name)) as { items: KubeObject[] }).items;
}

/** The objects of a watch's events, without bookmarks. */
export function recordedEvents(name: string): KubeObject[] {
  const events = bodyOf(name)
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as { type: string; object: KubeObject });
  return events.filter(({ type }) => type !== "BOOKMARK").map(({ object }) => object);
}
